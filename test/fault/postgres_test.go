package fault

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is a PostgreSQL of its own, as durable as in production, that can be crashed. Not postgrestest's: that one is
// shared, lives behind a socket and does not flush.
type database struct {
	address string // 127.0.0.1:port
	bin     string
	dir     string
	attr    *syscall.SysProcAttr
	child   *child
}

// startDatabase starts a server with an empty database "router". It ends with the test.
func startDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{}
	err := d.prepare()
	if d.dir != "" {
		t.Cleanup(func() { _ = os.RemoveAll(d.dir) })
	}
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no postgresql: %v", err)
	}
	if err == nil {
		err = d.start()
		t.Cleanup(d.crash)
	}
	if err == nil {
		err = d.exec("create database router")
	}
	if err != nil {
		t.Fatalf("start postgresql: %v", err)
	}
	return d
}

func (d *database) prepare() (err error) {
	if d.bin, err = postgresBin(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp(baseDir, "pg-"); err != nil {
		return err
	}
	if d.attr, err = unprivileged(d.dir); err != nil {
		return err
	}
	if d.address, err = freeAddress(); err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(d.bin, "initdb"), "--pgdata", filepath.Join(d.dir, "data"), "--username", "postgres",
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = d.attr, d.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// url of the database "router", at the server's own address or that of something in between.
func (d *database) url(address string) string {
	return "postgres://postgres@" + address + "/router?sslmode=disable"
}

// start runs the server, again after crash, and waits until it has recovered.
func (d *database) start() error {
	_, port, _ := net.SplitHostPort(d.address)
	cmd := exec.Command(filepath.Join(d.bin, "postgres"), "-D", filepath.Join(d.dir, "data"), "-k", d.dir, "-p", port,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=120", "-c", "shared_buffers=64MB")
	attr := *d.attr
	attr.Pdeathsig = syscall.SIGQUIT
	cmd.SysProcAttr, cmd.Dir = &attr, d.dir
	var err error
	if d.child, err = startChild(cmd, d.logPath()); err != nil {
		return err
	}
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.exec("select 1")
		if err == nil {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("postgresql did not start: %w: %s", err, tail(d.logPath(), 4<<10))
		case <-d.child.ended:
			return fmt.Errorf("postgresql ended at its start: %s", tail(d.logPath(), 4<<10))
		case <-tick.C:
		}
	}
}

// crash ends the server without a checkpoint: what was not flushed is gone, and the next start recovers.
func (d *database) crash() {
	if d.child != nil {
		d.child.end(syscall.SIGQUIT)
	}
}

func (d *database) logPath() string { return filepath.Join(d.dir, "log") }

func (d *database) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, strings.Replace(d.url(d.address), "/router?", "/postgres?", 1))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// postgresBin is where initdb and postgres are.
func postgresBin() (string, error) {
	var candidates []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(candidates, found...) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find initdb: not beside pg_config and not in /usr/lib/postgresql; install the package postgresql")
}

// unprivileged makes the directory somebody's whom PostgreSQL accepts: it refuses to run as root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, fmt.Errorf("find a user to run postgresql as: neither postgres nor nobody exists")
}
