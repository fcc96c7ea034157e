package redistest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy is a way to a server that counts what goes along it.
type Proxy struct {
	URL string

	sent atomic.Int64
}

// Sent counts what clients sent: writes, and so requests as long as nothing is pipelined.
func (p *Proxy) Sent() int { return int(p.sent.Load()) }

// Proxy opens a way to the server. It closes when the test ends.
func (s *Server) Proxy() *Proxy {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatalf("open proxy: %v", err)
	}
	p := &Proxy{URL: "redis://" + listener.Addr().String() + "/0"}
	var pumps sync.WaitGroup
	pumps.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			server, err := net.Dial("tcp", s.addr)
			if err != nil {
				client.Close()
				continue
			}
			pumps.Go(func() { pump(server, client, func() { p.sent.Add(1) }) })
			pumps.Go(func() { pump(client, server, func() {}) })
			s.t.Cleanup(func() { client.Close(); server.Close() })
		}
	})
	s.t.Cleanup(pumps.Wait) // after the connections, which were accepted later and so are closed earlier
	s.t.Cleanup(func() { listener.Close() })
	return p
}

// pump copies what one end sends to the other until either closes.
func pump(to io.WriteCloser, from io.ReadCloser, counted func()) {
	defer to.Close()
	defer from.Close()
	var buffer [64 << 10]byte
	for {
		n, err := from.Read(buffer[:])
		if err != nil {
			return
		}
		counted()
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
