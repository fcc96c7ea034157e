package desk_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/desk"
	"plantao/runtime/server"
)

// hooks serves the real hooks of a router and points Chatwoot at them; its worker delivers.
func (l *lab) hooks(wake func()) (url string) {
	l.Helper()
	metrics := server.NewMetrics("test", func(context.Context) (server.OpenRows, error) { return server.OpenRows{}, nil }, func() bool { return true })
	s := server.New(server.Config{MaxBodyBytes: 1 << 20, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(l.Output(), nil)), Version: "test",
		Desk: desk.NewHooks(desk.HooksConfig{Store: l.store, Sealer: l.sealer, Wake: wake, Logger: slog.New(slog.DiscardHandler)}),
		API:  server.APIConfig{Store: l.store, Locker: l.store.Leases(), Changed: func() {}, Announced: func() {}, MaxTurn: time.Hour, Rate: 1, Burst: 1}})
	s.Open()
	listening := httptest.NewServer(s)
	l.Cleanup(listening.Close)
	l.wire(listening.URL+"/hooks/chatwoot/"+channel, listening.URL+"/hooks/chatwoot/"+channel+"/bot")
	return listening.URL
}

// works starts Chatwoot's worker.
func (l *lab) works() {
	ctx, stop := context.WithCancel(l.Context())
	done := make(chan error, 1)
	go func() { done <- l.app.Work(ctx) }()
	l.Cleanup(func() {
		stop()
		<-done
	})
}

// runs starts a desk; it ends with the test, or with what it returns.
func (l *lab) runs(d *desk.Desk) (stop func()) {
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	l.Cleanup(stop)
	return stop
}

// eventually asks in the test's own goroutine, as the connections it asks over are the test's. The bound is for what hangs:
// under the race detector, beside the others, a conversation takes Chatwoot a second.
func (l *lab) eventually(what string, ok func() bool) {
	l.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for bound := time.After(3 * time.Minute); !ok(); {
		select {
		case <-bound:
			l.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

func TestWebhooksWakeTheDesk(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(func(c *desk.Config) { c.Sweep, c.Poll = time.Hour, time.Hour })
	l.hooks(d.Wake)
	l.works()
	l.runs(d)
	l.writes("M1", "oi")
	l.gives()
	d.Wake()
	l.eventually("the message is shown", func() bool { return len(l.shown()) == 1 })
	l.replies("bom dia")
	l.eventually("it is a human's", func() bool { return l.now().State == conversation.HumanActive })
	l.eventually("it waits at the gate", func() bool { return l.number(`select count(*) from outbox`) == 1 })
	require.Zero(t, seen.of("missed"))
	l.eventually("both sinks have told of it", func() bool {
		return l.number(`select count(*) from inbox where kind = 'chatwoot' and type = 'message_created' and state = 'ignored'
			and conversation_id = $1 and body ->> 'content' = 'bom dia'`, l.talk) == 2
	})
	require.Equal(t, "sent", func() string {
		s, _ := l.messageStatus(l.count(`select max(id) from messages where content = 'bom dia'`))
		return s
	}())
}

func TestLostWebhooksAreSwept(t *testing.T) {
	l := newLab(t) // its webhooks go to where nobody listens
	l.writes("M1", "oi")
	l.gives()
	d, seen := l.desk(nil)
	l.settle(d)
	l.runs(d)
	l.replies("bom dia")
	l.eventually("it is a human's", func() bool { return l.now().State == conversation.HumanActive })
	require.GreaterOrEqual(t, seen.of("missed"), 1)
	l.eventually("it shows", func() bool { return l.status() == "open user:1" })
	l.phone.sends()
	require.Equal(t, []string{"bom dia"}, l.phone.texts())

	// What shows in no message: a change of status alone. Its note is written by a job, so the list tells by what it says.
	l.api(l.admin, "POST", l.display()+"/toggle_status", object{"status": "resolved"})
	l.eventually("it is closed", func() bool { return l.now().State == conversation.Closed })
}

func TestManyConversationsAreSwept(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	const n = 30 // more than a page
	var talks []conversation.ID
	for i := range n {
		l.who = fmt.Sprintf("55119000000%02d@s.whatsapp.net", i)
		talks = append(talks, l.writes(fmt.Sprintf("M%d", i), "oi"))
	}
	l.settle(d)
	for _, id := range talks {
		l.talk = id
		l.replies("bom dia")
	}
	l.runs(d)
	l.eventually("all are heard", func() bool { return l.number(`select count(*) from turn where kind = 'human'`) == n })
}

func TestChatwootDownForAWhile(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(func(c *desk.Config) { c.Unsure = 100 * time.Millisecond })
	l.writes("M0", "zero")
	l.gives()
	l.settle(d)
	l.runs(d)
	var asked atomic.Int64
	l.front.set(func(w http.ResponseWriter, _ *http.Request) bool {
		if asked.Add(1)%2 == 0 {
			hang(w)
		} else {
			w.WriteHeader(http.StatusBadGateway)
		}
		return true
	}, nil)
	for i := range 20 {
		l.writes(fmt.Sprintf("M%d", i+1), fmt.Sprintf("mensagem %d", i+1))
	}
	require.Equal(t, conversation.OutcomeDone, l.phone.answers("Já respondo"), "WhatsApp's side goes on")
	l.eventually("it was tried", func() bool { return seen.of("looked failed") >= 2 })
	require.Equal(t, []string{"Já respondo"}, l.phone.texts())
	l.front.set(nil, nil)
	l.eventually("all is shown", func() bool { return len(l.shown()) >= 22 })
	l.settle(d)
	shown := l.shown()
	require.Len(t, shown, 22)
	require.Equal(t, "incoming mensagem 20", shown[20])
	require.Equal(t, "outgoing Já respondo", shown[21])
}

// An answer that is lost says nothing of what happened: the message is there, or is not.
func TestLostAnswers(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	var lost atomic.Int64
	l.front.set(nil, func(r *http.Request) bool { return r.Method == http.MethodPost && lost.Add(1)%2 == 1 })
	for i := range 10 {
		l.writes(fmt.Sprintf("M%d", i), fmt.Sprint(i))
	}
	l.settle(d)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("incoming %d", i))
	}
	require.Equal(t, want, l.shown())
	require.Positive(t, seen.of("showed found"))
}

func TestAPostThatMayStillArriveIsWaitedFor(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(func(c *desk.Config) { c.Unsure = time.Hour })
	l.writes("M0", "zero")
	l.settle(d)
	// The line breaks before Chatwoot has done anything, as far as anybody can tell.
	l.front.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			hang(w)
			return true
		}
		return false
	}, nil)
	l.writes("M1", "um")
	_, err := d.Once(t.Context())
	require.NoError(t, err)
	l.front.set(nil, nil)
	l.exec(`update chatwoot_conversation set retry_at = now()`)
	_, err = d.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"incoming zero"}, l.shown())
	require.Equal(t, "post_unsure", l.text(`select problem from chatwoot_conversation`))
	l.exec(`update chatwoot_conversation set retry_at = now(), posting_at = posting_at - interval '2 hours'`)
	_, err = d.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"incoming zero", "incoming um"}, l.shown())
}

func TestTwoReplicas(t *testing.T) {
	l := newLab(t)
	first, a := l.desk(nil)
	second, b := l.desk(nil)
	l.runs(first)
	l.runs(second)
	const people, messages = 5, 6
	var talks []conversation.ID
	for i := range people * messages {
		l.who = fmt.Sprintf("55119000000%02d@s.whatsapp.net", i%people)
		id := l.writes(fmt.Sprintf("M%d", i), fmt.Sprint(i/people))
		if i < people {
			talks = append(talks, id)
		}
	}
	l.eventually("all is shown", func() bool { return l.number(`select count(*) from inbox where mirror = 'wanted'`) == 0 })
	for _, id := range talks {
		l.talk = id
		require.Equal(t, []string{"incoming 0", "incoming 1", "incoming 2", "incoming 3", "incoming 4", "incoming 5"}, l.shown())
		l.replies("bom dia")
	}
	l.eventually("all are heard", func() bool { return l.number(`select count(*) from turn where kind = 'human'`) >= people })
	l.eventually("all are taken", func() bool {
		return l.number(`select count(*) from chatwoot_conversation where status = 'open' and assignee = 'user:1' and lease_until is null`) == people
	})
	require.EqualValues(t, people, l.number(`select count(*) from turn where kind = 'human'`))
	require.EqualValues(t, people, l.count(`select count(*) from conversations`))
	require.EqualValues(t, people, l.count(`select count(*) from contacts`))
	require.Equal(t, people, a.of("heard said")+b.of("heard said"))
	require.Equal(t, people*messages, a.of("showed posted")+b.of("showed posted"))
}

func TestRotatedSecretsWorkAfterTheNextWire(t *testing.T) {
	l := newLab(t)
	var woken atomic.Int64
	url := l.hooks(func() { woken.Add(1) })
	l.works()
	l.writes("M1", "oi")
	d, _ := l.desk(nil)
	l.settle(d)
	heard := func() int64 { return l.number(`select count(*) from inbox where kind = 'chatwoot'`) }
	l.eventually("events come", func() bool { return heard() > 0 })
	before := l.inbox
	l.api(l.admin, "POST", fmt.Sprintf("/inboxes/%d/reset_secret", before.ID), nil)
	l.api(l.admin, "POST", fmt.Sprintf("/agent_bots/%d/reset_secret", before.Bot.ID), nil)
	l.api(l.admin, "POST", fmt.Sprintf("/agent_bots/%d/reset_access_token", before.Bot.ID), nil)
	l.wire(url+"/hooks/chatwoot/"+channel, url+"/hooks/chatwoot/"+channel+"/bot")
	require.NotEqual(t, before.Secret, l.inbox.Secret)
	require.NotEqual(t, before.Bot, l.inbox.Bot)
	was := l.number(`select count(*) from inbox where kind = 'chatwoot' and body ->> 'content' = 'depois'`)
	require.Zero(t, was)
	l.replies("depois")
	l.eventually("both sinks are believed", func() bool {
		return l.number(`select count(*) from inbox where kind = 'chatwoot' and type = 'message_created' and body ->> 'content' = 'depois'`) == 2
	})
	l.writes("M2", "e o robô?")
	l.settle(d)
	require.Contains(t, strings.Join(l.shown(), "\n"), "incoming e o robô?")
}

// What the router was writing when it was broken off is not people's doing, also when the owner has changed meanwhile.
func TestOwnWritesAreNotTakenForPeoples(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	lose := func(what string) {
		l.front.set(nil, func(r *http.Request) bool { return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, what) })
	}
	ai := conversation.Owner{Kind: conversation.OwnedByAI, ID: flow}

	lose("/toggle_status")
	l.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Router, To: conversation.Owner{Kind: conversation.OwnedByQueue}})
	_, err := d.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, "open", l.status())
	l.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Router, To: ai})
	l.front.set(nil, nil)
	l.settle(d)
	require.Equal(t, ai, l.now().Owner)
	require.Equal(t, "pending", l.status())

	l.do(conversation.Command{Verb: conversation.VerbTake, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "1"}})
	l.settle(d)
	require.Equal(t, "open user:1", l.status())
	lose("/assignments")
	phone := l.do(conversation.Command{Verb: conversation.VerbTake, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "phone"}})
	_, err = d.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, "open", l.status())
	l.front.set(nil, nil)
	l.settle(d)
	require.Equal(t, phone.Owner, l.now().Owner)
	require.Equal(t, phone.Epoch, l.now().Epoch)
	for _, verb := range []string{"take", "pass", "handback", "close", "claim"} {
		require.Zero(t, seen.of("heard "+verb), verb)
	}
}
