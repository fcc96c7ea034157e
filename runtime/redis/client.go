package redis

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"plantao/runtime/dial"
)

// defaultTimeout: who waits longer for an accelerator is slower than without it.
const defaultTimeout = 50 * time.Millisecond

// poolSize is the most connections of a process, beside the subscription: one each for wake-ups and locks, and one that
// replaces each while it breaks.
const poolSize = 4

// Config says how to reach Redis.
type Config struct {
	URL      string // redis://user@host:port/db; without a password
	Password string // empty: none is sent
	// Timeout bounds a dial and a round trip. Zero: 50 ms.
	Timeout time.Duration
}

// Client is a process's one pool of connections to Redis; the Waker and the Locker share it.
type Client struct {
	redis   *redis.Client
	timeout time.Duration
}

// quiet drops what the library would print by itself: the Waker and the Locker report the changes of state.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// CheckURL says what Open would refuse, without opening anything.
func CheckURL(url string) error {
	_, err := redis.ParseURL(url)
	return err
}

// Open prepares a client; it dials nothing.
func Open(c Config) (*Client, error) {
	opt, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read redis url: %w", err)
	}
	if c.Password != "" {
		opt.Password = c.Password
	}
	timeout := cmp.Or(c.Timeout, defaultTimeout)
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
	opt.ContextTimeoutEnabled = true // else a call gets the timeout once for each of dial, greeting, write and read
	opt.Dialer = dial.To(opt.Addr).DialContext
	opt.MaxRetries = -1
	opt.DialerRetries = 1
	opt.PoolSize = poolSize
	opt.DisableIdentity = true // CLIENT SETINFO is one more right to grant
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(quiet{})
	return &Client{redis: redis.NewClient(opt), timeout: timeout}, nil
}

// Close drops the connections. The Waker and the Locker must be idle.
func (c *Client) Close() error { return c.redis.Close() }
