package server

import (
	"container/list"
	"context"
	"net"
	"sync"
)

// connectionsAtOnce bounds what connections cost: about 20 KB each while they say nothing. Evolution and Chatwoot keep a few dozen.
const connectionsAtOnce = 1024

// Bound returns a listener that accepts for the server, and holds no more than so many connections: one more takes the place of the
// stranger that has been there longest. A stranger is a connection on which no request has shown a good secret or token yet. Who
// has one shows it within milliseconds, and who only trickles is pushed out by those that come, wherever either comes from: all
// may come from one proxy.
func (s *Server) Bound(l net.Listener) net.Listener {
	return &bound{Listener: l, most: connectionsAtOnce, strangers: list.New()}
}

type bound struct {
	net.Listener
	most int

	mu        sync.Mutex
	open      int
	strangers *list.List // of *connection, the oldest first
}

// connection is one that counts.
type connection struct {
	net.Conn
	b       *bound
	closed  bool
	element *list.Element // nil while it is no stranger
}

// Accept implements net.Listener. With every connection known, a new one is closed at once.
func (b *bound) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := b.admit(conn); c != nil {
			return c, nil
		}
		_ = conn.Close()
	}
}

func (b *bound) admit(conn net.Conn) net.Conn {
	b.mu.Lock()
	var out *connection
	if b.open >= b.most {
		oldest := b.strangers.Front()
		if oldest == nil {
			b.mu.Unlock()
			return nil
		}
		out = oldest.Value.(*connection)
		out.leave()
	}
	c := &connection{Conn: conn, b: b}
	b.open++
	c.element = b.strangers.PushBack(c)
	b.mu.Unlock()
	if out != nil {
		_ = out.Conn.Close() // its goroutine sees that, and ends
	}
	return c
}

// leave gives up the connection's place, once. The lock is held.
func (c *connection) leave() {
	if !c.closed {
		c.closed = true
		c.b.open--
		c.settle()
	}
}

// settle takes the connection from the strangers. The lock is held.
func (c *connection) settle() {
	if c.element != nil {
		c.b.strangers.Remove(c.element)
		c.element = nil
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.b.mu.Lock()
	c.leave()
	c.b.mu.Unlock()
	return c.Conn.Close()
}

type connectionKey struct{}

// withConnection makes the connection known to its requests.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*connection); ok {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}

// known marks the connection of a request that showed a good secret or token.
func known(ctx context.Context) {
	if c, ok := ctx.Value(connectionKey{}).(*connection); ok {
		c.b.mu.Lock()
		defer c.b.mu.Unlock()
		c.settle()
	}
}
