package desk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
	"plantao/runtime/desk"
)

var errDead = errors.New("this process was killed")

// life is a process that is killed at its nth step that changes something: before it, or after it with the answer lost. From then on
// it does nothing at all, and cleans nothing up.
type life struct {
	mu    sync.Mutex
	at    int
	after bool
	steps int
	dead  bool
}

// step runs do unless the process is dead, and tells whether it died of it.
func (l *life) step(do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errDead
	}
	l.steps++
	if l.steps != l.at {
		return do()
	}
	l.dead = true
	if l.after {
		_ = do()
	}
	return errDead
}

func (l *life) died() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// mortal is a store in a process that may be killed.
type mortal struct {
	desk.Store
	*life
}

func (m mortal) NextShown(ctx context.Context, lease time.Duration) (s conversation.Shown, err error) {
	died := m.step(func() error {
		s, err = m.Store.NextShown(ctx, lease)
		if errors.Is(err, conversation.ErrNothingDue) {
			m.steps-- // nothing changed
		}
		return err
	})
	return s, died
}

func (m mortal) SaveShown(ctx context.Context, s conversation.Shown, lease time.Duration) error {
	return m.step(func() error { return m.Store.SaveShown(ctx, s, lease) })
}

func (m mortal) Posted(ctx context.Context, s conversation.Shown, source string, id int64) error {
	return m.step(func() error { return m.Store.Posted(ctx, s, source, id) })
}

func (m mortal) Echoed(ctx context.Context, s conversation.Shown, ids map[string]int64) error {
	return m.step(func() error { return m.Store.Echoed(ctx, s, ids) })
}

func (m mortal) ShowSpoken(ctx context.Context, s conversation.Shown, t conversation.Spoken, shown string, final bool) error {
	return m.step(func() error { return m.Store.ShowSpoken(ctx, s, t, shown, final) })
}

func (m mortal) EndShown(ctx context.Context, s conversation.Shown, e conversation.ShowEnd) error {
	return m.step(func() error { return m.Store.EndShown(ctx, s, e) })
}

func (m mortal) Do(ctx context.Context, c conversation.Command) (r conversation.Result, err error) {
	err = m.step(func() (err error) {
		r, err = m.Store.Do(ctx, c)
		return err
	})
	return r, err
}

func (m mortal) Say(ctx context.Context, s conversation.Said) (no int, first bool, err error) {
	err = m.step(func() (err error) {
		no, first, err = m.Store.Say(ctx, s)
		return err
	})
	return no, first, err
}

// RoundTrip implements http.RoundTripper: what only reads is no step.
func (l *life) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if r.Method == http.MethodGet {
		if l.died() {
			return nil, errDead
		}
		return http.DefaultTransport.RoundTrip(r)
	}
	err = l.step(func() (err error) {
		resp, err = http.DefaultTransport.RoundTrip(r)
		return err
	})
	if err != nil && resp != nil {
		resp.Body.Close()
	}
	return resp, err
}

// mortalDesk is a desk of a process that may be killed.
func (l *lab) mortalDesk(at int, after bool) (*desk.Desk, *life) {
	l.Helper()
	process := &life{at: at, after: after}
	client, err := chatwoot.NewClient(chatwoot.ClientConfig{URL: l.url, HTTP: &http.Client{Transport: process}})
	require.NoError(l, err)
	d, _ := l.desk(func(c *desk.Config) { c.Store, c.Client = mortal{l.store, process}, client })
	return d, process
}

// TestKilledAtEachStep kills the desk at every step that changes something, on either side, before and after it happened. Whoever
// takes over must find everything shown once, said once and done once.
func TestKilledAtEachStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%t", after), func(t *testing.T) {
			l := newLab(t)
			for at := 1; ; at++ {
				if !l.lifeOfAConversation(at, after) {
					require.Greater(t, at, 25, "the story has become too short to mean anything")
					return
				}
			}
		})
	}
}

// lifeOfAConversation is the story; it says whether the process was killed in it.
func (l *lab) lifeOfAConversation(at int, after bool) bool {
	l.Helper()
	l.who = fmt.Sprintf("55119%08d@s.whatsapp.net", at)
	d, process := l.mortalDesk(at, after)
	goOn := func() {
		l.Helper()
		if l.rests(d) {
			return
		}
		require.True(l, process.died(), "step %d: the desk does not come to rest: %s", at,
			l.text(`select coalesce(max(problem), '') from chatwoot_conversation`))
		d, _ = l.desk(nil)
		l.exec(`update chatwoot_conversation set lease_until = now() - interval '1 second' where lease_until is not null`)
		l.settle(d)
	}
	look := func() {
		l.Helper()
		l.exec(`update chatwoot_conversation set look = true where conversation_id = $1`, l.talk)
		goOn()
	}
	name := func(s string) string { return fmt.Sprintf("%s-%d-%t", s, at, after) }

	l.writes(name("M1"), "oi")
	l.gives()
	l.phone.answers("Bom dia")
	goOn()
	l.replies("um momento")
	look()
	l.phone.sends()
	goOn()
	l.writes(name("M2"), "ok")
	l.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Router, To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: "shift_over"})
	goOn()
	l.api(l.admin, "POST", l.display()+"/toggle_status", object{"status": "pending"})
	look()
	l.api(l.admin, "POST", l.display()+"/toggle_status", object{"status": "resolved"})
	look()

	what := fmt.Sprintf("killed at step %d, after=%t", at, after)
	require.Equal(l, []string{"incoming oi", "outgoing Bom dia", "outgoing um momento", "incoming ok",
		"note Passed on: the queue has this conversation now (by the router).\nReason: shift_over"}, l.shown(), what)
	require.Equal(l, []string{"Bom dia", "um momento"}, l.phone.texts(), what)
	require.Equal(l, "resolved", l.status(), what)
	require.Equal(l, "claim, take, pass, handback, close", l.text(`select string_agg(verb, ', ' order by seq) from audit
		where conversation_id = $1 and verb <> 'inbound'`, l.talk), what)
	require.Zero(l, l.number(`select count(*) from inbox where conversation_id = $1 and mirror in ('wanted', 'failed')`, l.talk), what)
	require.Zero(l, l.number(`select count(*) from outbox where conversation_id = $1 and mirror in ('wanted', 'failed')`, l.talk), what)
	require.EqualValues(l, 1, l.count(`select count(*) from conversations where additional_attributes ->> 'plantao_conversation' = $1`, l.talk.String()), what)
	require.EqualValues(l, 1, l.count(`select count(*) from contacts where identifier = $1`, l.who), what)
	return process.died()
}

// count asks Chatwoot's own database.
func (l *lab) count(sql string, args ...any) (n int64) {
	l.Helper()
	require.NoError(l, l.cw.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}
