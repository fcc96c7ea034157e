package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// takeSQL is what a human's take does to the conversation row: another owner, the next epoch.
const takeSQL = `update conversation set state = 'HUMAN_ACTIVE', owner_kind = 'human', owner_id = 'ana', epoch = epoch + 1`

func TestBurstIsOneTurnAndLaterMessagesAreTheNext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Turn.Quiet, b.c.Turn.Cap = 300*time.Millisecond, 2*time.Second
	entered, release := make(chan struct{}, 10), make(chan struct{})
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
		entered <- struct{}{}
		<-release
		reply(w, fmt.Sprint(len(q.Messages)))
	}
	r := b.serveReady()
	for i := range 3 {
		require.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprintf("A%d", i), testCustomer, "x")).status)
	}
	<-entered
	for i := range 2 {
		require.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprintf("B%d", i), testCustomer, "y")).status)
	}
	require.Len(t, b.flow.requests(), 1, "one turn at a time")
	close(release)
	b.settled()
	require.Equal(t, []string{"3", "2"}, b.evo.words())
}

func TestFlowIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, attempt int) {
		switch attempt {
		case 1:
			w.WriteHeader(http.StatusNotFound)
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		case 3:
			panic(http.ErrAbortHandler)
		default:
			_, _ = w.Write([]byte(`[{"parts":[{"text":"um"},{"text":"dois"}]}]`))
		}
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	require.Equal(t, []string{"um", "dois"}, b.evo.words())
	keys := map[string]bool{}
	for _, q := range b.flow.requests() {
		keys[q.Key] = true
	}
	require.Len(t, keys, 1, "one idempotency key for one turn")
}

func TestSilenceIsAnAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, _ int) { reply(w) }
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	require.Empty(t, b.evo.words())
	require.Equal(t, "done done", b.text("select concat_ws(' ', (select state from turn), (select state from inbox))"))
}

func TestFlowFailuresEndInTheHumanQueue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		answer       func(http.ResponseWriter)
		once         bool
	}{
		{"never there", "deadline_passed", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, false},
		{"refuses", "flow_refused", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnprocessableEntity) }, true},
		{"answers nothing", "flow_refused", func(http.ResponseWriter) {}, true},
		{"answers no parts", "flow_refused", func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"ok":true}`)) }, true},
		{"answers an empty part", "flow_refused", func(w http.ResponseWriter) { reply(w, "a", " ") }, true},
		{"answers text", "flow_refused", func(w http.ResponseWriter) { _, _ = w.Write([]byte(`olá`)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.c.Turn.Deadline = 700 * time.Millisecond
			b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, _ int) { c.answer(w) }
			r := b.serveReady()
			require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
			b.settled()
			require.Equal(t, c.reason, b.text("select reason from dead_letter"))
			require.Equal(t, "HUMAN_QUEUED queue 2", b.text("select concat_ws(' ', state, owner_kind, epoch) from conversation"))
			require.Equal(t, "failed dead", b.text("select concat_ws(' ', (select state from turn), (select state from inbox))"))
			require.Equal(t, c.reason, b.text("select reason from audit where verb = 'queue'"))
			require.Equal(t, c.once, len(b.flow.requests()) == 1)
			require.Empty(t, b.evo.words())

			// The queue is nobody's turn: what comes now waits for the human.
			require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "alô?")).status)
			require.NoError(t, r.stop())
			require.Equal(t, 1, b.count("select count(*) from inbox where state = 'pending'"))
			require.Equal(t, 1, b.count("select count(*) from turn"))
		})
	}
}

func TestTakeBetweenPartsStopsTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, _ int) { reply(w, "um", "dois", "três") }
	taker := b.db.Conn(t)
	b.evo.before = func(_ http.ResponseWriter, r *http.Request, _ sentText, _ int) bool {
		if _, err := taker.Exec(r.Context(), takeSQL); err != nil {
			t.Error(err)
		}
		return false
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	require.Equal(t, []string{"um"}, b.evo.words(), "only the part on the wire follows a take")
	require.Equal(t, "cancelled owner_changed", b.text("select concat_ws(' ', state, reason) from turn"))
	require.Equal(t, 2, b.count("select count(*) from outbox where state = 'dropped'"))
	require.Equal(t, "done", b.text("select state from inbox"))
}

func TestTakeWhileTheFlowThinks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	taker := b.db.Conn(t)
	b.flow.answer = func(w http.ResponseWriter, r *http.Request, _ flowRequest, _ int) {
		if _, err := taker.Exec(r.Context(), takeSQL); err != nil {
			t.Error(err)
		}
		reply(w, "tarde demais")
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.eventually("turn cancelled", func() bool { return b.count("select count(*) from turn where state = 'cancelled'") == 1 })
	require.NoError(t, r.stop())
	require.Empty(t, b.evo.words())
	require.Zero(t, b.count("select count(*) from outbox"))
	require.Equal(t, "pending", b.text("select state from inbox"), "the message waits for the human")
}

func TestRefusedPartEndsInTheHumanQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, _ int) { reply(w, "um", "dois") }
	b.evo.before = func(w http.ResponseWriter, _ *http.Request, _ sentText, _ int) bool {
		http.Error(w, `{"response":{"message":[{"exists":false,"number":"5511988887777"}]}}`, http.StatusBadRequest)
		return true
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	require.Equal(t, "failed, dropped", b.text("select string_agg(state, ', ' order by part) from outbox"))
	require.Equal(t, "send_refused", b.text("select reason from dead_letter"))
	require.Equal(t, "HUMAN_QUEUED", b.text("select state from conversation"))
	require.NotContains(t, b.text("select detail from dead_letter"), "5511988887777")
	require.NotContains(t, b.logs.String(), "5511988887777", "no phone number in the log")
}

func TestEvolutionUnreachableIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	address := freeAddress(t)
	b.c.Evolution.URL = "http://" + address
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.eventually("part put back", func() bool { return b.count("select count(*) from outbox where state = 'queued'") == 1 })

	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	late := &httptest.Server{Listener: listener, Config: &http.Server{Handler: b.evo.Config.Handler}}
	late.Start()
	defer late.Close()
	b.settled()
	require.Equal(t, []string{"eco: oi"}, b.evo.words())
}

func TestUnknownOutcomeBlocksUntilProof(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(w http.ResponseWriter)
	}{
		{"connection broken", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		{"server error", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }},
		{"no id in the answer", func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
				reply(w, "sobre "+q.Messages[0].Text, "mais?")
			}
			var hidden sentText
			b.evo.before = func(w http.ResponseWriter, _ *http.Request, s sentText, attempt int) bool {
				if attempt == 1 {
					hidden = s
					c.fail(w)
					return true
				}
				return false
			}
			r := b.serveReady()
			require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "um")).status)
			b.eventually("part ambiguous", func() bool { return b.count("select count(*) from outbox where state = 'ambiguous'") == 1 })
			require.Equal(t, "ambiguous", b.text("select state from turn"))
			require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "dois")).status)
			b.eventually("read back in vain", func() bool { return b.count("select coalesce(max(checks), 0) from outbox") >= 2 })
			require.Len(t, b.flow.requests(), 1, "the AI is silent")
			require.Empty(t, b.evo.words(), "never sent again blindly")
			require.Contains(t, r.get("/metrics").body, `router_parts{state="ambiguous"} 1`)

			b.evo.record(hidden)
			b.settled()
			require.Equal(t, []string{"sobre um", "mais?", "sobre dois", "mais?"}, b.evo.words())
			require.Equal(t, hidden.ID, b.text("select wa_msg_id from outbox where no = 1 and part = 1"))
		})
	}
}

func TestEchoConfirmsThePart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	echo := func(id string) string {
		return event("send.message", map[string]any{"key": map[string]any{"remoteJid": testCustomer, "fromMe": true, "id": id}})
	}
	// The first echo overtakes Evolution's own answer, the second follows it.
	b.evo.before = func(_ http.ResponseWriter, _ *http.Request, s sentText, attempt int) bool {
		if attempt == 1 {
			r.post(echo(s.ID))
		}
		return false
	}
	for i, id := range []string{"OUT1", "OUT2"} {
		require.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprint("A", i), testCustomer, "oi")).status)
		b.settled()
		if id == "OUT2" {
			require.Equal(t, http.StatusOK, r.post(echo(id)).status)
		}
		require.Equal(t, 1, b.count("select count(*) from outbox where wa_msg_id = $1 and confirmed_at is not null", id))
		require.Equal(t, "ignored own_echo", b.text("select concat_ws(' ', state, reason) from inbox where wa_id = $1", id))
	}
}

func TestChannelWithoutFlowGoesToTheQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.channel("")
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.eventually("queued", func() bool {
		return b.count("select count(*) from conversation where state = 'HUMAN_QUEUED' and epoch = 1") == 1
	})
}
