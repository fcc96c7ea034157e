package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

func typing(jid, presence string) string {
	return event("presence.update", map[string]any{"id": jid, "presences": map[string]any{jid: map[string]any{"lastKnownPresence": presence}}})
}

// turnOf names a turn as its flow does.
func turnOf(q flowRequest) client.Turn {
	return client.Turn{ID: q.Turn.Conversation, No: q.Turn.No, Token: q.Turn.Token}
}

func TestWhoTypesIsLetFinish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Turn.Quiet, b.c.Turn.Cap, b.c.Turn.Typing = 2*time.Second, 10*time.Hour, time.Hour
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	require.Equal(t, http.StatusOK, r.post(typing(testCustomer, "composing")).status)
	require.Equal(t, 1, b.count("select count(*) from conversation where debounce_until > now() + interval '50 minutes'"))
	require.Equal(t, http.StatusOK, r.post(typing(testCustomer, "paused")).status)
	require.Equal(t, 1, b.count("select count(*) from conversation where debounce_until between now() and now() + interval '2 seconds'"))
	b.settled()
	require.Equal(t, []string{"eco: oi"}, b.evo.words())
	require.Equal(t, http.StatusOK, r.post(typing(testCustomer, "composing")).status)
	require.Zero(t, b.count("select count(*) from conversation where debounce_until is not null"))
	require.Equal(t, 1, b.count("select count(*) from inbox where kind <> 'sent'"), "what is typed is kept nowhere")
}

func TestMergeAsksAnewWithAllOfIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	gone, first := make(chan struct{}), make(chan flowRequest, 1)
	b.flow.answer = func(w http.ResponseWriter, req *http.Request, q flowRequest, attempt int) {
		if attempt == 1 {
			first <- q
			<-req.Context().Done() // the router hangs up
			close(gone)
			return
		}
		reply(w, fmt.Sprint(len(q.Messages)))
	}
	r := b.serveReady()
	op := r.as("operator:otto")
	require.NoError(t, op.PutAgent(t.Context(), "ai:"+testFlow, api.AgentRequest{MidTurn: "merge"}))
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	q := <-first
	require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "e mais")).status)
	<-gone
	b.settled()
	require.Equal(t, []string{"2"}, b.evo.words())
	_, err := op.Reply(t.Context(), turnOf(q), []api.Part{{Text: "tarde"}})
	require.ErrorIs(t, err, conversation.ErrTurnClosed, "the late answer is refused")
	require.Equal(t, "cancelled restarted, done", b.text("select string_agg(trim(state || ' ' || reason), ', ' order by no) from turn"))
	keys := map[string]bool{}
	for _, q := range b.flow.requests() {
		keys[q.Key] = true
	}
	require.Len(t, keys, 2, "another turn, with another key")
}

func TestAppendIsFetchedByTheFlow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked := make(chan flowRequest, 1)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, attempt int) {
		if attempt > 1 {
			reply(w, fmt.Sprint("depois: ", len(q.Messages)))
			return
		}
		w.WriteHeader(http.StatusAccepted)
		asked <- q
	}
	r := b.serveReady()
	flow := r.as("ai:" + testFlow)
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	turn := turnOf(<-asked)
	_, err := flow.TakeMessages(t.Context(), turn)
	require.ErrorIs(t, err, conversation.ErrNotAppending)
	require.NoError(t, r.as("operator:otto").PutAgent(t.Context(), "ai:"+testFlow, api.AgentRequest{MidTurn: "append"}))
	require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "e mais")).status)
	standing, err := flow.Check(t.Context(), turn)
	require.NoError(t, err)
	require.Equal(t, 1, standing.Waiting)
	more, err := flow.TakeMessages(t.Context(), turn)
	require.NoError(t, err)
	require.Equal(t, 1, more.More)
	require.Equal(t, []string{"oi", "e mais"}, []string{more.Messages[0].Text, more.Messages[1].Text})
	require.Equal(t, http.StatusOK, r.post(upsert("C", testCustomer, "ah, e")).status)
	_, err = flow.Reply(t.Context(), turn, []api.Part{{Text: "respondo as duas"}})
	require.NoError(t, err)
	b.settled()
	require.Equal(t, []string{"respondo as duas", "depois: 1"}, b.evo.words())
}

func TestAnAIHandsOverWithItsAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, attempt int) {
		if attempt == 1 {
			_, _ = w.Write([]byte(`{"parts":[{"text":"um"},{"text":"chamo alguém"}],"handover":{"to":"queue","reason":"wants_a_human","context":{"order":"A-1"}}}`))
			return
		}
		_, _ = w.Write([]byte(`{"parts":[{"text":"tchau"}],"close":{"reason":"solved"}}`))
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	stands := func(want string) {
		t.Helper()
		b.eventually(want, func() bool {
			return b.text("select concat_ws(' ', state, owner_kind, epoch) from conversation") == want
		})
	}
	stands("HUMAN_QUEUED queue 2")
	require.Equal(t, []string{"um", "chamo alguém"}, b.evo.words(), "both parts went out first")
	require.Equal(t, "pass ai:"+testFlow+" wants_a_human", b.text("select concat_ws(' ', verb, actor, reason) from audit order by seq desc limit 1"))
	require.JSONEq(t, `{"order":"A-1"}`, b.text("select context::text from handover"))

	op := r.as("operator:otto")
	now, err := op.Get(t.Context(), "1")
	require.NoError(t, err)
	do(t, op, conversation.VerbHandback, now, api.VerbRequest{})
	require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "obrigada")).status)
	stands("CLOSED none 4")
	require.Equal(t, []string{"um", "chamo alguém", "tchau"}, b.evo.words())
}

func TestWhatFollowsByTheAPIIsVoidAfterATake(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked := make(chan flowRequest, 1)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
		w.WriteHeader(http.StatusAccepted)
		asked <- q
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	q := <-asked
	ana := r.as("human:ana")
	_, err := ana.Answer(t.Context(), turnOf(q), api.ReplyRequest{Parts: []api.Part{}, Handover: &api.Handover{To: "ana"}})
	require.ErrorIs(t, err, conversation.ErrInvalid)
	_, err = ana.Answer(t.Context(), turnOf(q), api.ReplyRequest{
		Parts: []api.Part{{Text: "um"}, {Text: "dois", DelayMS: 30000}}, Close: &api.Close{Reason: "solved"},
	})
	require.NoError(t, err)
	b.eventually("the first part", func() bool { return len(b.evo.words()) == 1 })
	_, err = ana.Do(t.Context(), client.Verb{Verb: conversation.VerbTake, ID: q.Turn.Conversation, IfEpoch: conversation.AnyEpoch, Key: uuid.NewString()})
	require.NoError(t, err)
	b.eventually("nothing is left to follow", func() bool {
		return b.count("select count(*) from turn where follow is not null and state = 'done'") == 0 &&
			b.count("select count(*) from turn where state in ('running', 'replied', 'sending')") == 0
	})
	require.Equal(t, "HUMAN_ACTIVE human 2", b.text("select concat_ws(' ', state, owner_kind, epoch) from conversation"))
}

func TestDeadLettersAreDecidedByAnOperator(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ok atomic.Bool
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
		if !ok.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		reply(w, "agora: "+q.Messages[0].Text)
	}
	r := b.serveReady()
	op := r.as("operator:otto")
	require.NoError(t, op.PutAgent(t.Context(), "ai:"+testFlow, api.AgentRequest{Holding: "um instante"}))
	customers := []string{"5511900000001", "5511900000002", "5511900000003", "5511900000004"}
	for i, c := range customers {
		require.Equal(t, http.StatusOK, r.post(upsert(strconv.Itoa(i), c+"@s.whatsapp.net", "oi "+strconv.Itoa(i))).status)
		b.settled()
	}
	require.Equal(t, []string{"um instante", "um instante", "um instante", "um instante"}, b.evo.words(), "each is told")
	require.Contains(t, r.get("/metrics").body, "router_dead_letters 4\n")

	page, err := op.DeadLetters(t.Context(), client.LetterFilter{State: "open", Reason: "flow_refused", Limit: 3})
	require.NoError(t, err)
	require.Len(t, page.DeadLetters, 3)
	require.Equal(t, page.DeadLetters[2].ID, page.Next)
	first := page.DeadLetters[0]
	require.Equal(t, []any{testChannel, 1, testFlow, "open", 1}, []any{first.Channel, first.Turn, first.Agent, first.State, first.Messages})
	one, err := op.DeadLetter(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, first, one)
	body, err := json.Marshal(page)
	require.NoError(t, err)
	for _, c := range customers {
		require.NotContains(t, string(body), c, "no phone number")
	}

	// A human has the second one.
	_, err = op.Do(t.Context(), client.Verb{Verb: conversation.VerbTake, ID: page.DeadLetters[1].Conversation, IfEpoch: conversation.AnyEpoch,
		Key: uuid.NewString(), VerbRequest: api.VerbRequest{To: "human:ana"}})
	require.NoError(t, err)
	_, err = op.Redrive(t.Context(), page.DeadLetters[1].ID)
	var refused *client.Error
	require.ErrorIs(t, err, conversation.ErrHumanOnDuty)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []any{http.StatusConflict, "human:ana"}, []any{refused.Status, refused.Body.Now.Owner})

	ok.Store(true)
	redriven, err := op.Redrive(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"redriven", "operator:otto"}, []string{redriven.State, redriven.DecidedBy})
	b.eventually("it is answered", func() bool { return len(b.evo.words()) == 5 })
	require.Equal(t, "agora: oi 0", b.evo.words()[4])

	// The rest in bulk, two at a time.
	result, err := op.RedriveAll(t.Context(), api.LettersRequest{Reason: "flow_refused", Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{page.DeadLetters[2].ID}, result.Decided)
	require.Len(t, result.Refused, 1)
	require.Equal(t, []string{page.DeadLetters[1].ID, "human_on_duty"}, []string{result.Refused[0].ID, result.Refused[0].Code})
	require.NotEmpty(t, result.Next)
	before := time.Now().Add(time.Hour)
	dropped, err := op.DropAll(t.Context(), api.LettersRequest{After: result.Next, Before: &before, Channel: testChannel, Drop: "spam"})
	require.NoError(t, err)
	require.Len(t, dropped.Decided, 1)
	require.Empty(t, dropped.Next)
	last, err := op.DeadLetter(t.Context(), dropped.Decided[0])
	require.NoError(t, err)
	require.Equal(t, []string{"dropped", "spam"}, []string{last.State, last.Decision})
	_, err = op.Redrive(t.Context(), last.ID)
	require.ErrorIs(t, err, conversation.ErrDecided)
	_, err = op.DropAll(t.Context(), api.LettersRequest{})
	require.ErrorIs(t, err, conversation.ErrInvalid, "it says why")
	_, err = op.DeadLetter(t.Context(), "99")
	require.ErrorIs(t, err, conversation.ErrNoLetter)
	_, err = r.as("human:ana", conversation.ScopeRead).Drop(t.Context(), first.ID, "x")
	require.ErrorIs(t, err, conversation.ErrScope)
	b.eventually("one is open", func() bool { return b.count("select count(*) from dead_letter where state = 'open'") == 1 })
}

func TestAttachmentsAreOpenToWhoMaySeeThem(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked := make(chan flowRequest, 1)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
		w.WriteHeader(http.StatusAccepted)
		asked <- q
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	q := <-asked
	id := b.text(`insert into media (tenant, conversation_id, mimetype, file_name, content) values ('default', 1, 'image/png', 'foto é.png', 'x') returning id::text`)
	b.exec(`insert into conversation (id, channel, chat_jid) values (99, $1, 'x')`, testChannel)
	foreign := b.text(`insert into media (tenant, conversation_id, mimetype, content) values ('default', 99, 'image/png', 'y') returning id::text`)
	turn := "?conversation=" + q.Turn.Conversation + "&turn=1"
	token := map[string]string{"X-Plantao-Turn-Token": q.Turn.Token}
	got := r.request(http.MethodGet, "/v1/media/"+id+turn, "", token)
	require.Equal(t, []any{http.StatusOK, "x", "image/png", "nosniff", "private, no-store", "attachment; filename*=utf-8''foto%20%C3%A9.png"},
		[]any{got.status, got.body, got.header.Get("Content-Type"), got.header.Get("X-Content-Type-Options"), got.header.Get("Cache-Control"),
			got.header.Get("Content-Disposition")})
	require.Equal(t, http.StatusNotFound, r.request(http.MethodGet, "/v1/media/"+foreign+turn, "", token).status, "another customer's")
	require.Equal(t, http.StatusUnauthorized, r.request(http.MethodGet, "/v1/media/"+id+turn, "", map[string]string{"X-Plantao-Turn-Token": "forged"}).status)
	require.Equal(t, http.StatusUnauthorized, r.request(http.MethodGet, "/v1/media/"+id, "", token).status, "the turn is not named")
	require.Equal(t, http.StatusUnauthorized, r.request(http.MethodGet, "/v1/media/"+id, "", nil).status)
	bearer := map[string]string{"Authorization": "Bearer " + b.token("human:ana", conversation.ScopeRead)}
	require.Equal(t, "y", r.request(http.MethodGet, "/v1/media/"+foreign, "", bearer).body)
	require.Equal(t, http.StatusNotFound, r.request(http.MethodGet, "/v1/media/12345", "", bearer).status)
	bearer["Authorization"] = "Bearer " + b.token("human:bia", conversation.ScopeLock)
	require.Equal(t, http.StatusForbidden, r.request(http.MethodGet, "/v1/media/"+id, "", bearer).status)

	// What a flow attaches is kept for the conversation, and is in the part.
	flow := r.as("ai:" + testFlow)
	_, err := flow.Answer(t.Context(), turnOf(q), api.ReplyRequest{Parts: []api.Part{{Media: &api.PartMedia{Base64: "aGk="}}}})
	require.ErrorIs(t, err, conversation.ErrInvalid)
	n, err := strconv.ParseInt(foreign, 10, 64)
	require.NoError(t, err)
	_, err = flow.Answer(t.Context(), turnOf(q), api.ReplyRequest{Parts: []api.Part{{Media: &api.PartMedia{ID: n}}}})
	require.ErrorIs(t, err, conversation.ErrInvalid)
	_, err = flow.Answer(t.Context(), turnOf(q), api.ReplyRequest{Parts: []api.Part{{Text: "veja", Media: &api.PartMedia{Base64: "aGk=", Mimetype: "video/mp4"}}}})
	require.NoError(t, err)
	require.Equal(t, "hi video", b.text("select concat_ws(' ', convert_from(m.content, 'utf8'), o.body -> 'media' ->> 'kind') "+
		"from outbox o join media m on m.id = (o.body -> 'media' ->> 'id')::bigint"))
}
