package postgrestest

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and the server and can be cut, as a database that goes down.
type Proxy struct {
	URL string // of the database, through the proxy

	listener net.Listener
	mu       sync.Mutex
	target   string
	cut      bool
	conns    map[net.Conn]bool
	loss     *loss // nil: everything is passed on as it comes
}

// NewProxy starts a proxy to the database on a free port. It stops when the test ends.
func (d *Database) NewProxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{
		URL:      fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", listener.Addr(), d.Name),
		listener: listener, target: d.SocketPath(), conns: map[net.Conn]bool{},
	}
	go p.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
	})
	return p
}

// Cut breaks every connection and refuses new ones until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Point leads new connections to another server, and breaks those there are: an address that moves in a failover. The
// database's name there is the same.
func (p *Proxy) Point(d *Database) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = d.SocketPath()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Mend lets connections through again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.carry(client)
	}
}

func (p *Proxy) carry(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	backend, err := net.Dial("unix", target)
	if err != nil {
		return
	}
	defer backend.Close()
	if !p.add(client, backend) {
		return
	}
	defer p.remove(client, backend)
	if p.loss != nil {
		p.loss.carry(client, backend)
		return
	}
	done := make(chan struct{}, 2)
	pipe := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		done <- struct{}{}
	}
	go pipe(backend, client)
	go pipe(client, backend)
	<-done
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}
