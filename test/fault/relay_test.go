package fault

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// relay is the first piece of the way to a store. It can turn a caller off whose last words are still on their way: they reach
// the store all the same, later than what the caller says next on another connection. So does a network that loses an
// answer, or delivers a packet again for a while after one end has given up.
type relay struct {
	address string

	mu     sync.Mutex
	target string
	calls  map[*call]bool
}

// call is one connection through a relay.
type call struct {
	client, store *net.TCPConn
	mu            sync.Mutex
	spoke         time.Time // when the client last said something
}

// newRelay starts one. It ends with the test.
func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: address, target: target, calls: map[*call]bool{}}
	go r.accept(listener)
	t.Cleanup(func() {
		listener.Close()
		r.turnOff(target)
	})
	return r
}

func (r *relay) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go r.carry(conn.(*net.TCPConn))
	}
}

func (r *relay) carry(client *net.TCPConn) {
	defer client.Close()
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	c := &call{client: client, store: conn.(*net.TCPConn)}
	defer c.store.Close()
	r.mu.Lock()
	r.calls[c] = true
	r.mu.Unlock()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(client, c.store)
		client.Close()
		_, _ = io.Copy(io.Discard, c.store) // to close with an answer unread would take back what was said
	}()
	_, _ = io.Copy(c, client)
	_ = c.store.CloseWrite()
	<-answered
	r.mu.Lock()
	delete(r.calls, c)
	r.mu.Unlock()
}

// Write implements io.Writer: what the client says to the store.
func (c *call) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.spoke = time.Now()
	c.mu.Unlock()
	return c.store.Write(p)
}

// turnOff breaks every connection on the client's side and lets new ones go to the target. It returns how long ago each of the
// clients last said something.
func (r *relay) turnOff(target string) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	var ago []time.Duration
	for c := range r.calls {
		c.mu.Lock()
		ago = append(ago, time.Since(c.spoke))
		c.mu.Unlock()
		c.client.Close()
	}
	return ago
}
