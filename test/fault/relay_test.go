package fault

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"plantao/runtime/conversation"
)

// relay is the first piece of a replica's way to PostgreSQL. It can turn a connection off whose last statement is still on its
// way: that is carried out all the same, later than what the replica says next on another connection. So does a network that
// delivers late what one end has given up.
type relay struct {
	address string
	target  string

	mu    sync.Mutex
	traps map[*trap]bool
}

// trap waits for one statement, at any relay.
type trap struct {
	text   string        // the statement, or a piece of it
	delay  time.Duration // until it is carried out; its client has been turned off by then
	once   sync.Once
	sprung chan struct{} // closed when it was carried out
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
	r := &relay{address: address, target: target, traps: map[*trap]bool{}}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go r.carry(client.(*net.TCPConn))
		}
	}()
	return r
}

// lay lays a trap.
func (r *relay) lay(t *trap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traps[t] = true
}

// lift takes a trap away.
func (r *relay) lift(t *trap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.traps, t)
}

// springs finds the trap a statement goes into; nil if there is none.
func (r *relay) springs(statement string) *trap {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.traps {
		first := false
		if statement != "" && strings.Contains(statement, t.text) {
			t.once.Do(func() { first = true })
		}
		if first {
			return t
		}
	}
	return nil
}

func (r *relay) carry(client *net.TCPConn) {
	defer client.Close()
	conn, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	store := conn.(*net.TCPConn)
	defer store.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(client, store)
		client.Close()
		_, _ = io.Copy(io.Discard, store) // to close with an answer unread would take back what was said
	}()
	r.listen(client, store)
	_ = store.CloseWrite()
	<-answered
}

// listen passes on what the client says, until it hangs up or is turned off.
func (r *relay) listen(client, store *net.TCPConn) {
	w := wire{names: map[string]string{}}
	var held bytes.Buffer
	var sprung *trap
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		var now bytes.Buffer
		for _, m := range w.messages(buffer[:n]) {
			if sprung == nil {
				sprung = r.springs(w.statement(m))
			}
			if sprung == nil {
				now.Write(m)
				continue
			}
			held.Write(m)
			if m[0] != 'S' && m[0] != 'Q' {
				continue
			}
			_, _ = store.Write(now.Bytes())
			client.Close()
			conversation.Pause(context.Background(), sprung.delay)
			_, _ = store.Write(held.Bytes())
			close(sprung.sprung)
			return
		}
		if _, err := store.Write(now.Bytes()); err != nil {
			return
		}
	}
}

// wire cuts what a client says to PostgreSQL into messages (version 3 of its protocol), and knows its prepared statements.
type wire struct {
	rest  []byte
	begun bool
	names map[string]string
}

// messages returns those that are whole by now.
func (w *wire) messages(p []byte) (whole [][]byte) {
	w.rest = append(w.rest, p...)
	for {
		head := 1 // the type
		if !w.begun {
			head = 0 // the first message has none
		}
		if len(w.rest) < head+4 {
			return whole
		}
		size := head + int(binary.BigEndian.Uint32(w.rest[head:]))
		if len(w.rest) < size {
			return whole
		}
		whole = append(whole, bytes.Clone(w.rest[:size]))
		w.rest, w.begun = w.rest[size:], true
	}
}

// statement is the text of what a message lets be carried out; empty if it is about something else.
func (w *wire) statement(m []byte) string {
	words := strings.SplitN(string(m[min(5, len(m)):]), "\x00", 3)
	switch {
	case m[0] == 'Q':
		return words[0]
	case m[0] == 'P' && len(words) == 3: // name, text
		w.names[words[0]] = words[1]
	case m[0] == 'B' && len(words) == 3: // portal, name
		return w.names[words[1]]
	}
	return ""
}
