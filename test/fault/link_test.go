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

// link is the way of one replica to one store. It can be made slow, stalled and cut. There are two ways, of which one is taken: so
// what was said on one can reach the store after what is said on the other.
type link struct {
	address string
	relay   *relay
	ways    [2]*toxiproxy.Proxy
	taken   int
}

// lateness is how long words take on a late way, more or less.
const lateness = 900 * time.Millisecond

// newLink opens the ways to a store's address.
func newLink(t testing.TB, name, store string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{}
	for i := range l.ways {
		address, err := freeAddress()
		l.ways[i] = toxiproxy.NewProxy(server, fmt.Sprintf("%s-%d", name, i), address, store)
		if err == nil {
			err = l.ways[i].Start()
		}
		if err != nil {
			t.Fatalf("start proxy %s: %v", name, err)
		}
		t.Cleanup(l.ways[i].Stop)
	}
	l.relay = newRelay(t, l.ways[0].Listen)
	l.address = l.relay.address
	return l
}

// cut breaks every connection and refuses new ones.
func (l *link) cut() {
	for _, way := range l.ways {
		way.Stop()
	}
}

// slow delays what the store says by a time with jitter.
func (l *link) slow(by time.Duration) error { return l.both(latency("downstream", by)) }

// stall lets connections stand and nothing through. When it ends they break.
func (l *link) stall() error { return l.both(`{"type":"timeout","attributes":{"timeout":0}}`) }

// late delays what the replica says.
func (l *link) late() error { return poison(l.ways[l.taken], latency("upstream", lateness)) }

// overtake leads the replica by the other way while its last words are still on this one, and says whether there were any.
func (l *link) overtake() (any bool) {
	l.taken = 1 - l.taken
	for _, ago := range l.relay.turnOff(l.ways[l.taken].Listen) {
		any = any || ago < lateness/2
	}
	return any
}

func latency(stream string, by time.Duration) string {
	return fmt.Sprintf(`{"type":"latency","stream":%q,"attributes":{"latency":%d,"jitter":%d}}`, stream, by.Milliseconds(), by.Milliseconds()/2)
}

func (l *link) both(toxic string) error {
	return errors.Join(poison(l.ways[0], toxic), poison(l.ways[1], toxic))
}

func poison(p *toxiproxy.Proxy, toxic string) error {
	_, err := p.Toxics.AddToxicJson(strings.NewReader(toxic))
	return err
}

// mend takes every fault away.
func (l *link) mend() error {
	for _, way := range l.ways {
		way.Toxics.ResetToxics(context.Background())
		if err := way.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			return fmt.Errorf("mend the way to %s: %w", way.Upstream, err)
		}
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
