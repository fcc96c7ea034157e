package postgrestest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// LossyProxy is a proxy that can break a connection at a chosen place in the conversation of client and server.
type LossyProxy struct{ *Proxy }

// loss knows what to break next.
type loss struct {
	mu       sync.Mutex
	in       int // requests until then; zero: nothing is to be lost
	answered bool
}

// NewLossyProxy starts a proxy to the database on a free port. It stops when the test ends.
func (d *Database) NewLossyProxy(t testing.TB) LossyProxy {
	t.Helper()
	p := d.NewProxy(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loss = &loss{}
	return LossyProxy{p}
}

// Lose breaks the connection that carries the nth request from now on: before the server gets the request, or, if answered,
// after the server has carried it out and before the client gets one byte of the answer. A request is what a client sends
// before it waits.
func (p LossyProxy) Lose(n int, answered bool) {
	p.loss.mu.Lock()
	defer p.loss.mu.Unlock()
	p.loss.in, p.loss.answered = n, answered
}

// Spare takes back what Lose asked for, and says whether it was still to come.
func (p LossyProxy) Spare() bool {
	p.loss.mu.Lock()
	defer p.loss.mu.Unlock()
	spared := p.loss.in > 0
	p.loss.in = 0
	return spared
}

// next counts a request, and says whether it is the one to lose, and how.
func (l *loss) next() (lost, answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.in == 0 {
		return false, false
	}
	l.in--
	return l.in == 0, l.answered
}

// carry passes messages on until a side ends the connection, or it is lost.
func (l *loss) carry(client, backend net.Conn) {
	swallow := make(chan struct{})
	go func() {
		defer client.Close() // also ends the loop below
		buffer := make([]byte, 32<<10)
		for {
			n, err := backend.Read(buffer)
			select {
			case <-swallow:
				return // the server answers when it is through with the request
			default:
			}
			if err != nil {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	requests := bufio.NewReader(client)
	typed := 0 // the first message of a connection has no type
	var request []byte
	for {
		head := make([]byte, typed+4)
		if _, err := io.ReadFull(requests, head); err != nil {
			return
		}
		message := make([]byte, typed+int(binary.BigEndian.Uint32(head[typed:])))
		copy(message, head)
		if _, err := io.ReadFull(requests, message[len(head):]); err != nil {
			return
		}
		request = append(request, message...)
		if typed == 1 {
			switch head[0] {
			case 'P', 'B', 'D', 'E', 'C': // Parse to Close: the server would begin with them, and there is more to come
				continue
			case 'S', 'Q': // Sync, Query: the client waits
				switch lost, answered := l.next(); {
				case lost && !answered:
					return
				case lost:
					close(swallow)
				}
			}
		}
		typed = 1
		if _, err := backend.Write(request); err != nil {
			return
		}
		request = request[:0]
	}
}
