package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// flow is n8n with one flow. Each answer is unique, and its text says whose it is: see said.
type flow struct {
	*httptest.Server
	deadline time.Duration
	router   func() *client.Client // any replica

	mu    sync.Mutex
	mood  func(flowRequest) manner
	asked []asked

	answers atomic.Int64
	later   sync.WaitGroup
	closing context.Context
	close   context.CancelFunc
}

type flowRequest struct {
	Turn struct {
		Conversation string
		No           int
		Epoch        int64
		Gen          int
		Token        string
	}
	Messages []conversation.Message
}

// asked is one request, and what the flow knows of it.
type asked struct {
	flowRequest
	At time.Time
}

// manner is how one request is answered.
type manner struct {
	Think  time.Duration
	Parts  int
	Typing time.Duration // before each part
	Way    way
	Check  bool // ask first whether the turn may still act, and answer all the same
}

// way is where the answer goes.
type way string

const (
	inResponse way = "in the response"
	byAPI      way = "by the API"
	bothWays   way = "both ways" // two answers, of which one may count
	notFound   way = "404"       // n8n is starting
	hangUp     way = "by hanging up"
	refuses    way = "400"        // the flow is wrong: nobody should ask again
	silent     way = "not at all" // until the turn's deadline
)

// said is what the text of a part says about itself.
type said struct {
	Conversation string
	No           int
	Gen          int
	Epoch        int64
	Answer       int64 // one run of the flow
	Part         int
}

const saidFormat = "c%s t%d g%d e%d a%d p%d"

func (s said) String() string {
	return fmt.Sprintf(saidFormat, s.Conversation, s.No, s.Gen, s.Epoch, s.Answer, s.Part)
}

// parseSaid reads a part's text.
func parseSaid(text string) (s said, err error) {
	if _, err = fmt.Sscanf(text, saidFormat, &s.Conversation, &s.No, &s.Gen, &s.Epoch, &s.Answer, &s.Part); err != nil {
		err = fmt.Errorf("text %q is no answer of the flow: %w", text, err)
	}
	return s, err
}

func newFlow(t testing.TB, router func() *client.Client, deadline time.Duration) *flow {
	f := &flow{router: router, deadline: deadline, mood: func(flowRequest) manner { return manner{Parts: 1, Way: inResponse} }}
	f.closing, f.close = context.WithCancel(context.Background())
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.close()
		f.Server.CloseClientConnections()
		f.Server.Close()
		f.later.Wait()
	})
	return f
}

// behave sets how requests are answered from now on.
func (f *flow) behave(mood func(flowRequest) manner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mood = mood
}

// requests returns those from the nth on.
func (f *flow) requests(n int) []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]asked(nil), f.asked[n:]...)
}

// ServeHTTP implements http.Handler.
func (f *flow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q flowRequest
	err := json.NewDecoder(r.Body).Decode(&q)
	if err != nil || r.URL.Path != "/webhook/"+flowName || r.Header.Get("X-Plantao-Token") != flowToken ||
		r.Header.Get("Idempotency-Key") != fmt.Sprintf("%s/%d", q.Turn.Conversation, q.Turn.No) {
		http.Error(w, "bad request of the router", http.StatusTeapot)
		return
	}
	f.mu.Lock()
	f.asked = append(f.asked, asked{q, time.Now()})
	m := f.mood(q)
	f.mu.Unlock()
	switch m.Way {
	case notFound:
		http.NotFound(w, r)
		return
	case refuses:
		http.Error(w, "{}", http.StatusBadRequest)
		return
	case silent:
		<-r.Context().Done()
		return
	case byAPI:
		w.WriteHeader(http.StatusAccepted)
		f.laterReply(q, m)
		return
	case bothWays:
		f.laterReply(q, m)
	}
	if !f.think(r.Context(), q, m) {
		return
	}
	if m.Way == hangUp {
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"parts": f.answer(q, m)})
}

// think waits, and asks whether the turn may still act; false if the router hung up.
func (f *flow) think(ctx context.Context, q flowRequest, m manner) bool {
	if !conversation.Pause(ctx, m.Think) {
		return false
	}
	if m.Check {
		_, _ = f.router().Check(ctx, q.turn())
	}
	return true
}

func (f *flow) answer(q flowRequest, m manner) []api.Part {
	n := f.answers.Add(1)
	parts := []api.Part{}
	for i := range m.Parts {
		s := said{q.Turn.Conversation, q.Turn.No, q.Turn.Gen, q.Turn.Epoch, n, i + 1}
		parts = append(parts, api.Part{Text: s.String(), DelayMS: m.Typing.Milliseconds()})
	}
	return parts
}

func (q flowRequest) turn() client.Turn {
	return client.Turn{ID: q.Turn.Conversation, No: q.Turn.No, Token: q.Turn.Token}
}

// laterReply answers by the API, at any replica, until one takes or refuses it.
func (f *flow) laterReply(q flowRequest, m manner) {
	f.later.Go(func() {
		ctx, cancel := context.WithTimeout(f.closing, f.deadline)
		defer cancel()
		if !f.think(ctx, q, m) {
			return
		}
		parts := f.answer(q, m)
		for conversation.Pause(ctx, 10*time.Millisecond) {
			_, err := f.router().Reply(ctx, q.turn(), parts)
			if err == nil || !unknown(err) {
				return
			}
			conversation.Pause(ctx, 50*time.Millisecond)
		}
	})
}

// unknown says whether a request may or may not have been carried out: nobody answered, or somebody who does not know.
func unknown(err error) bool {
	var refused *client.Error
	if errors.As(err, &refused) {
		return refused.Status >= 500 || refused.Status == http.StatusTooManyRequests
	}
	return err != nil
}
