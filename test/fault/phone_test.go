package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plantao/runtime/conversation"
)

// phone is Evolution and the customers' phones behind it: what it records, a customer has read.
type phone struct {
	*httptest.Server
	port int
	echo func(s receipt) // tells the router what was sent, as Evolution does

	mu       sync.Mutex
	mood     func() treatment
	received []receipt
	chats    map[string][]receipt // the same, by customer
	inFlight map[string]int       // texts whose request is being served
	tries    int
	hurried  bool          // too many requests
	more     chan struct{} // closed at the next receipt
}

// receipt is a message that reached a customer.
type receipt struct {
	Text string
	JID  string
	ID   string
	At   time.Time // harness clock, monotonic
}

// treatment is what becomes of one request to send.
type treatment struct {
	Delay  time.Duration // before anything else
	Lose   bool          // it reaches nobody
	Status int           // other than zero: answered instead of the message
	Cut    bool          // the connection breaks instead of an answer
	Echo   bool
}

func newPhone(t testing.TB) *phone {
	p := &phone{mood: func() treatment { return treatment{} }, inFlight: map[string]int{}, chats: map[string][]receipt{}, more: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /message/sendText/"+channelName, p.sendText)
	mux.HandleFunc("POST /chat/findMessages/"+channelName, p.findMessages)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("apikey") != evolutionKey {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	p.port = p.Server.Listener.Addr().(*net.TCPAddr).Port
	t.Cleanup(func() {
		p.Server.CloseClientConnections()
		p.Server.Close()
	})
	return p
}

// behave sets how requests are treated from now on.
func (p *phone) behave(mood func() treatment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mood = mood
}

// busy is when some requests are refused for now and the others take their time.
func (p *phone) busy(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hurried = on
}

func (p *phone) sendText(w http.ResponseWriter, r *http.Request) {
	var q struct{ Number, Text string }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Number == "" || q.Text == "" {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.tries++
	s := receipt{Text: q.Text, JID: q.Number + "@s.whatsapp.net", ID: fmt.Sprintf("OUT%d", p.tries)}
	how := p.mood()
	if p.hurried {
		if rand.IntN(2) == 0 {
			how = treatment{Status: http.StatusTooManyRequests, Lose: true}
		}
		how.Delay += time.Duration(rand.Int64N(int64(300 * time.Millisecond)))
	}
	p.inFlight[s.Text]++
	p.mu.Unlock()
	defer p.served(s.Text)

	// Evolution goes on when the router hangs up, so its context does not matter here.
	conversation.Pause(context.Background(), how.Delay)
	if !how.Lose {
		s = p.record(s)
		if how.Echo && p.echo != nil {
			p.echo(s)
		}
	}
	switch {
	case how.Cut:
		panic(http.ErrAbortHandler)
	case how.Status != 0:
		http.Error(w, "{}", how.Status)
	default:
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(s.message())
	}
}

func (p *phone) served(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight[text]--; p.inFlight[text] == 0 {
		delete(p.inFlight, text)
	}
}

func (p *phone) record(s receipt) receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.At = time.Now()
	p.received = append(p.received, s)
	p.chats[s.JID] = append(p.chats[s.JID], s)
	close(p.more)
	p.more = make(chan struct{})
	return s
}

// next waits for a receipt after the nth; false if ctx ended first.
func (p *phone) next(ctx context.Context, n int) (receipt, bool) {
	for {
		p.mu.Lock()
		more, got := p.more, len(p.received)
		p.mu.Unlock()
		if got > n {
			return p.receipts(got - 1)[0], true
		}
		select {
		case <-ctx.Done():
			return receipt{}, false
		case <-more:
		}
	}
}

// message is how Evolution shows it.
func (s receipt) message() map[string]any {
	return map[string]any{
		"key":              map[string]any{"id": s.ID, "remoteJid": s.JID, "fromMe": true},
		"message":          map[string]any{"conversation": s.Text},
		"messageTimestamp": s.At.Unix(), "status": "PENDING",
	}
}

func (p *phone) findMessages(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Where struct {
			Key struct {
				RemoteJID string `json:"remoteJid"`
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	records := []any{}
	p.mu.Lock()
	chat := p.chats[q.Where.Key.RemoteJID]
	p.mu.Unlock()
	for _, s := range chat {
		records = append(records, s.message())
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"messages": map[string]any{"records": records}})
}

// receipts returns those from the nth on.
func (p *phone) receipts(n int) []receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]receipt(nil), p.received[n:]...)
}

// count is how many there are.
func (p *phone) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.received)
}

// fate says whether a customer has read the text, and whether that is certain: nothing of it may be on its way here.
func (p *phone) fate(jid, text string) (read, certain bool) {
	quiet := unread(p.port) == 0 // before the lock: what is not unread is being served or was
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.chats[jid] {
		if s.Text == text {
			return true, true
		}
	}
	return false, quiet && p.inFlight[text] == 0
}

// unread is how many bytes, or connections, the kernel holds for a server on this port that it has not taken yet: what a
// killed process wrote is not gone with it.
func unread(port int) int {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return 0
	}
	defer f.Close()
	suffix, waiting := fmt.Sprintf(":%04X", port), 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 5 || !strings.HasSuffix(words[1], suffix) {
			continue
		}
		_, queue, _ := strings.Cut(words[4], ":")
		n, _ := strconv.ParseInt(queue, 16, 64)
		waiting += int(n)
	}
	return waiting
}
