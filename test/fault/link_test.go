package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is the way of one replica to one store. It can be made slow, stalled and cut.
type link struct {
	address string
	relay   *relay // nil: of a store whose words are not followed
	proxy   *toxiproxy.Proxy
}

// newLink opens a way to a store's address.
func newLink(t testing.TB, name, store string) *link {
	t.Helper()
	address, err := freeAddress()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{address: address, proxy: toxiproxy.NewProxy(server, name, address, store)}
	if err == nil {
		err = l.proxy.Start()
	}
	if err != nil {
		t.Fatalf("start proxy %s: %v", name, err)
	}
	t.Cleanup(l.proxy.Stop)
	return l
}

// follow puts a relay before the link.
func (l *link) follow(t testing.TB) {
	t.Helper()
	l.relay = newRelay(t, l.address)
	l.address = l.relay.address
}

// cut breaks every connection and refuses new ones.
func (l *link) cut() { l.proxy.Stop() }

// slow delays what the store says by a time with jitter.
func (l *link) slow(by time.Duration) error {
	return l.add(fmt.Sprintf(`{"type":"latency","attributes":{"latency":%d,"jitter":%d}}`, by.Milliseconds(), by.Milliseconds()/2))
}

// stall lets connections stand and nothing through. When it ends they break.
func (l *link) stall() error { return l.add(`{"type":"timeout","attributes":{"timeout":0}}`) }

func (l *link) add(toxic string) error {
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	return err
}

// mend takes every fault away.
func (l *link) mend() error {
	l.proxy.Toxics.ResetToxics(context.Background())
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("mend the way to %s: %w", l.proxy.Upstream, err)
	}
	return nil
}

// Greetings that a store answers with at least one byte.
const (
	postgresGreeting = "\x00\x00\x00\x08\x04\xd2\x16\x2f" // may we speak TLS?
	redisGreeting    = "PING\r\n"
)

// probe greets the store along the link and says how long the answer took. A store that is cut off or stalled is an error.
func (l *link) probe(greeting string) (time.Duration, error) {
	start := time.Now()
	conn, err := net.DialTimeout("tcp", l.address, time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(start.Add(time.Second)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte(greeting)); err != nil {
		return 0, err
	}
	_, err = conn.Read(make([]byte, 1))
	return time.Since(start), err
}
