package fault

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// cache is a Redis of its own that keeps nothing on disk.
type cache struct {
	*goredis.Client // past the proxies
	address         string
	dir             string
	child           *child
}

// startCache starts a server. It ends with the test.
func startCache(t testing.TB, dir string) *cache {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no redis: %v", err)
	}
	c := &cache{Client: goredis.NewClient(&goredis.Options{Addr: address}), address: address, dir: dir}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.stop()
		_ = c.Close()
	})
	return c
}

// start runs the server, again after stop, on the same port and without what it had.
func (c *cache) start() (err error) {
	_, port, _ := net.SplitHostPort(c.address)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", c.dir)
	if c.child, err = startChild(cmd, filepath.Join(c.dir, "redis.log")); err != nil {
		return fmt.Errorf("start redis: %w", err)
	}
	return eventually(context.Background(), "redis answers", func() bool { return c.Ping(context.Background()).Err() == nil })
}

// stop kills the server.
func (c *cache) stop() { c.child.end(syscall.SIGKILL) }
