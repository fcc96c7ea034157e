package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// token makes a token of the agent, with all scopes unless some are named.
func (b *bench) token(agent string, scopes ...conversation.Scope) string {
	b.t.Helper()
	if len(scopes) == 0 {
		scopes = conversation.Scopes()
	}
	kind, id, _ := strings.Cut(agent, ":")
	secret := "test-token-" + uuid.NewString()
	require.NoError(b.t, b.db.Store(b.t).PutToken(context.Background(), conversation.Principal{
		Tenant: conversation.DefaultTenant, Token: uuid.NewString(), Scopes: scopes,
		Actor: conversation.Actor{Kind: conversation.ActorKind(kind), ID: id},
	}, secret))
	return secret
}

// as is a client of the router with a token of the agent.
func (r *running) as(agent string, scopes ...conversation.Scope) *client.Client {
	r.b.t.Helper()
	c, err := client.New(client.Config{URL: r.url, Token: r.b.token(agent, scopes...)})
	require.NoError(r.b.t, err)
	r.b.t.Cleanup(c.Close)
	return c
}

// owned is a conversation the AI has just answered in.
func (r *running) owned(jid string) api.Conversation {
	b := r.b
	b.t.Helper()
	require.Equal(b.t, http.StatusOK, r.post(upsert(uuid.NewString(), jid, "oi")).status)
	b.settled()
	list, err := r.as("operator:test").List(b.t.Context(), client.Filter{Owner: "ai:" + testFlow})
	require.NoError(b.t, err)
	require.NotEmpty(b.t, list.Conversations)
	return list.Conversations[len(list.Conversations)-1]
}

func do(t *testing.T, c *client.Client, v conversation.Verb, now api.Conversation, q api.VerbRequest) api.Conversation {
	t.Helper()
	result, err := c.Do(t.Context(), client.Verb{Verb: v, ID: now.ID, IfEpoch: now.Epoch, Key: uuid.NewString(), VerbRequest: q})
	require.NoError(t, err)
	return result.Conversation
}

func TestAHumanTakesAndHandsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	c := r.owned(testCustomer)
	ana := r.as("human:ana", conversation.ScopeAct)

	c = do(t, ana, conversation.VerbTake, c, api.VerbRequest{Reason: "quer falar com gente"})
	require.Equal(t, "human:ana", c.Owner)
	require.EqualValues(t, 2, c.Epoch)
	require.Equal(t, http.StatusOK, r.post(upsert("H1", testCustomer, "você está aí?")).status)
	require.Equal(t, []string{"eco: oi"}, b.evo.words(), "the AI is silent")

	c = do(t, ana, conversation.VerbHandback, c, api.VerbRequest{Context: json.RawMessage(`{"prometido":"ligar amanhã"}`)})
	require.Equal(t, "ai:"+testFlow, c.Owner)
	require.Equal(t, http.StatusOK, r.post(upsert("A2", testCustomer, "e agora?")).status)
	b.settled()
	require.Equal(t, []string{"eco: oi", "eco: e agora?"}, b.evo.words())
	require.Equal(t, "human", b.text("select state from inbox where wa_id = 'H1'"), "read by a human, answered by nobody else")
	require.Equal(t, "2..2 human:ana", b.text("select concat(from_seq, '..', to_seq, ' ', agent) from human_stretch"))
	require.JSONEq(t, `{"prometido":"ligar amanhã"}`, b.text("select context::text from handover"))
	trail, err := r.as("operator:o").Audit(t.Context(), c.ID, 0, 0)
	require.NoError(t, err)
	var verbs []string
	for _, e := range trail.Entries {
		verbs = append(verbs, e.Verb)
	}
	require.Equal(t, []string{"inbound", "claim", "take", "handback"}, verbs)
	require.Equal(t, "human:ana", trail.Entries[2].Actor)
}

func TestATakeStopsTheTurnAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked, gone := make(chan flowRequest, 1), make(chan struct{})
	b.flow.answer = func(_ http.ResponseWriter, req *http.Request, q flowRequest, _ int) {
		asked <- q
		<-req.Context().Done() // the router hangs up
		close(gone)
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	q := <-asked
	ana := r.as("human:ana")
	turn := client.Turn{ID: q.Turn.Conversation, No: q.Turn.No, Token: q.Turn.Token}
	_, err := ana.Check(t.Context(), turn)
	require.NoError(t, err)

	_, err = ana.Do(t.Context(), client.Verb{Verb: conversation.VerbTake, ID: q.Turn.Conversation, IfEpoch: conversation.AnyEpoch, Key: uuid.NewString()})
	require.NoError(t, err)
	<-gone
	_, err = ana.Check(t.Context(), turn)
	require.ErrorIs(t, err, conversation.ErrStaleEpoch)
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "human:ana", refused.Body.Now.Owner)
	_, err = ana.Reply(t.Context(), turn, []api.Part{{Text: "tarde demais"}})
	require.ErrorIs(t, err, conversation.ErrStaleEpoch)
	require.Equal(t, "cancelled pending", b.text("select concat_ws(' ', (select state from turn), (select state from inbox))"))
	require.Empty(t, b.evo.words())
}

func TestAFlowAnswersByTheAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked := make(chan flowRequest, 1)
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
		w.WriteHeader(http.StatusAccepted)
		asked <- q
	}
	b.c.Turn.Deadline = 2 * time.Second
	b.c.API.MaxTurn = time.Minute
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	q := <-asked
	flow := r.as("ai:" + testFlow)
	turn := client.Turn{ID: q.Turn.Conversation, No: q.Turn.No, Token: q.Turn.Token}
	standing, err := flow.Renew(t.Context(), turn, time.Hour)
	require.NoError(t, err)
	require.InDelta(t, 60, standing.RemainingSeconds, 10, "bounded")
	for _, wrong := range []client.Turn{{ID: turn.ID, No: 1, Token: "forged"}, {ID: turn.ID, No: 2, Token: turn.Token}, {ID: "99", No: 1, Token: turn.Token}} {
		_, err := flow.Reply(t.Context(), wrong, []api.Part{{Text: "x"}})
		require.ErrorIs(t, err, conversation.ErrBadToken)
	}
	_, err = flow.Reply(t.Context(), turn, []api.Part{{Text: "um"}, {Text: "dois", DelayMS: 20}})
	require.NoError(t, err)
	_, err = flow.Reply(t.Context(), turn, []api.Part{{Text: "de novo"}})
	require.ErrorIs(t, err, conversation.ErrTurnClosed)
	b.settled()
	require.Equal(t, []string{"um", "dois"}, b.evo.words())
}

func TestVerbsAreFencedAndIdempotent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	c := r.owned(testCustomer)
	op := r.as("operator:otto")
	pass := client.Verb{Verb: conversation.VerbPass, ID: c.ID, IfEpoch: c.Epoch, Key: uuid.NewString(), VerbRequest: api.VerbRequest{To: "human:ana"}}
	var all sync.WaitGroup
	results := make([]api.VerbResult, 5)
	for i := range results {
		all.Go(func() {
			var err error
			results[i], err = op.Do(context.Background(), pass)
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	fresh := 0
	for _, result := range results {
		require.Equal(t, results[0].Conversation, result.Conversation, "one key, one answer")
		if !result.Replayed {
			fresh++
		}
	}
	require.Equal(t, 1, fresh)
	require.Equal(t, 1, b.count("select count(*) from audit where verb = 'pass'"))

	pass.To = "human:bia"
	_, err := op.Do(t.Context(), pass)
	require.ErrorIs(t, err, conversation.ErrKeyReused)
	pass.Key = uuid.NewString()
	_, err = op.Do(t.Context(), pass)
	require.ErrorIs(t, err, conversation.ErrStaleEpoch)
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusConflict, refused.Status)
	require.Equal(t, api.Standing{Conversation: c.ID, State: "HUMAN_ACTIVE", Owner: "human:ana", Epoch: 2}, *refused.Body.Now)
}

func TestAPIRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	c := r.owned(testCustomer)
	take := "/v1/conversations/" + c.ID + "/take"
	pass := "/v1/conversations/" + c.ID + "/pass"
	op, ana, reader := b.token("operator:o"), b.token("human:ana", conversation.ScopeAct), b.token("operator:r", conversation.ScopeRead)
	key := func(h map[string]string) map[string]string {
		h["Idempotency-Key"] = uuid.NewString()
		h["Content-Type"] = "application/json"
		return h
	}
	bearer := func(token string) map[string]string {
		return key(map[string]string{"Authorization": "Bearer " + token})
	}
	matching := func(token, epoch string) map[string]string {
		h := bearer(token)
		h["If-Match"] = epoch
		return h
	}
	for _, x := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		code                     string
	}{
		{"no token", "POST", take, "", key(map[string]string{}), 401, "bad_token"},
		{"unknown token", "POST", take, "", bearer("guess"), 401, "bad_token"},
		{"scope", "POST", take, "", bearer(reader), 403, "scope"},
		{"no key", "POST", take, "", map[string]string{"Authorization": "Bearer " + ana}, 422, "invalid"},
		{"no condition", "POST", pass, `{"to":"human:ana"}`, bearer(op), 428, "no_condition"},
		{"bad condition", "POST", pass, `{"to":"human:ana"}`, matching(op, "yes"), 400, "bad_condition"},
		{"stale", "POST", pass, `{"to":"human:ana"}`, matching(op, `"7"`), 409, "stale_epoch"},
		{"not on duty", "POST", pass, `{"to":"human:ana"}`, matching(ana, `"1"`), 403, "not_owner"},
		{"nobody", "POST", pass, `{"to":"cat:tom"}`, matching(op, `"1"`), 422, "invalid"},
		{"unknown field", "POST", pass, `{"to":"human:ana","oops":1}`, matching(op, `"1"`), 422, "invalid"},
		{"broken JSON", "POST", pass, `{"to":`, matching(op, `"1"`), 400, "invalid"},
		{"large", "POST", pass, `{"to":"human:ana","reason":"` + strings.Repeat("x", 70<<10) + `"}`, matching(op, `"1"`), 413, "too_large"},
		{"context no object", "POST", pass, `{"to":"human:ana","context":[1]}`, matching(op, `"1"`), 422, "invalid"},
		{"another's name", "POST", take, `{"to":"human:bia"}`, bearer(ana), 403, "not_owner"},
		{"no such conversation", "POST", "/v1/conversations/999/take", "", bearer(ana), 404, "no_conversation"},
		{"no number", "GET", "/v1/conversations/abc", "", bearer(op), 404, "no_conversation"},
		{"no such path", "GET", "/v1/nothing", "", bearer(op), 404, "not_found"},
		{"method", "DELETE", "/v1/agents", "", bearer(op), 404, "not_found"},
		{"offer without time", "POST", "/v1/conversations/" + c.ID + "/offer", `{"to":"human:ana"}`, matching(op, `"1"`), 422, "invalid"},
		{"no offer", "POST", "/v1/conversations/" + c.ID + "/accept", `{"offer":9}`, matching(ana, `"1"`), 409, "offer_gone"},
		{"resume what is not held", "POST", "/v1/conversations/" + c.ID + "/resume", "", matching(op, `"1"`), 409, "wrong_state"},
		{"no turn token", "POST", "/v1/conversations/" + c.ID + "/turns/1/check", "", nil, 401, "bad_token"},
	} {
		a := r.request(x.method, x.path, x.body, x.header)
		require.Equal(t, x.status, a.status, "%s: %s", x.name, a.body)
		if x.code == "" {
			continue
		}
		var e api.Error
		require.NoError(t, json.Unmarshal([]byte(a.body), &e), "%s: %s", x.name, a.body)
		require.Equal(t, x.code, e.Code, "%s: %s", x.name, a.body)
		require.NotEmpty(t, e.Message, x.name)
		for _, secret := range []string{op, ana, reader} {
			require.NotContains(t, a.body+b.logs.String(), secret, x.name)
		}
	}
	require.Equal(t, 1, b.count("select epoch from conversation"), "nothing of it moved the conversation")
}

func TestRequestsAreLimited(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.API.Rate, b.c.API.Burst = 0.001, 3
	r := b.serveReady()
	a, other := r.as("operator:a"), r.as("operator:b")
	var err error
	for range 3 {
		_, err = a.Agents(t.Context())
		require.NoError(t, err)
	}
	_, err = a.Agents(t.Context())
	require.ErrorIs(t, err, conversation.ErrTooMany)
	_, err = other.Agents(t.Context())
	require.NoError(t, err, "each token has its own bucket")
	limited := 0
	for i := range 80 {
		if r.request("GET", "/v1/agents", "", map[string]string{"Authorization": fmt.Sprint("Bearer guess", i)}).status == http.StatusTooManyRequests {
			limited++
		}
	}
	require.NotZero(t, limited, "guessing is limited as a whole")
}

func TestOffersExpireByThemselves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	c := r.owned(testCustomer)
	op, ana := r.as("operator:o"), r.as("human:ana", conversation.ScopeAct)
	c = do(t, op, conversation.VerbOffer, c, api.VerbRequest{To: "human:ana", WaitSeconds: 0.2, Else: "queue"})
	require.Equal(t, "OFFERED", c.State)
	require.Equal(t, "ai:"+testFlow, c.Owner, "the owner stays on duty")
	b.eventually("the offer expired", func() bool {
		now, err := op.Get(t.Context(), c.ID)
		require.NoError(t, err)
		return now.State == "HUMAN_QUEUED"
	})
	_, err := ana.Do(t.Context(), client.Verb{Verb: conversation.VerbAccept, ID: c.ID, IfEpoch: c.Epoch + 1, Key: uuid.NewString(),
		VerbRequest: api.VerbRequest{Offer: c.Offer.ID}})
	require.ErrorIs(t, err, conversation.ErrOfferGone)
}

func TestListsArePaged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	for i := range 5 {
		require.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprint("P", i), fmt.Sprintf("551198888000%d@s.whatsapp.net", i), "oi")).status)
	}
	b.settled()
	op := r.as("operator:o")
	var ids []string
	filter := client.Filter{State: "AI_ACTIVE", Limit: 2}
	for pages := 0; ; pages++ {
		list, err := op.List(t.Context(), filter)
		require.NoError(t, err)
		for _, c := range list.Conversations {
			ids = append(ids, c.ID)
		}
		if filter.After = list.Next; filter.After == "" {
			require.Equal(t, 2, pages)
			break
		}
	}
	require.Len(t, ids, 5)
	none, err := op.List(t.Context(), client.Filter{State: "CLOSED"})
	require.NoError(t, err)
	require.Empty(t, none.Conversations)
}

func TestTheLockWorksWithoutRedis(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	c := r.owned(testCustomer)
	one, two := r.as("ai:x", conversation.ScopeLock), r.as("ai:y", conversation.ScopeLock)
	mine, yours := api.LockRequest{Token: "token-of-the-first-client"}, api.LockRequest{Token: "token-of-the-other-client"}
	l, err := one.Acquire(t.Context(), c.ID, mine)
	require.NoError(t, err)
	require.Equal(t, c.Epoch, l.Fence)
	_, err = two.Acquire(t.Context(), c.ID, yours)
	require.ErrorIs(t, err, conversation.ErrLockHeld)
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Positive(t, refused.Body.Held.FreeMS)
	require.ErrorIs(t, two.Release(t.Context(), c.ID, yours.Token), conversation.ErrLockLost)
	_, err = one.RenewLock(t.Context(), c.ID, mine)
	require.NoError(t, err)
	do(t, r.as("human:ana"), conversation.VerbTake, c, api.VerbRequest{})
	l, err = two.Acquire(t.Context(), c.ID, yours)
	require.NoError(t, err, "a lock of an earlier owner is no obstacle")
	require.Equal(t, c.Epoch+1, l.Fence)
	require.NoError(t, two.Release(t.Context(), c.ID, yours.Token))
}

func TestAgentsAndPresence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	c := r.owned(testCustomer)
	op, ana := r.as("operator:o"), r.as("human:ana", conversation.ScopeAct)
	none := 0
	require.NoError(t, op.PutAgent(t.Context(), "human:ana", api.AgentRequest{Name: "Ana", Capacity: &none}))
	require.NoError(t, ana.PutPresence(t.Context(), "human:ana", api.PresenceRequest{Presence: "online"}))
	require.ErrorIs(t, ana.PutPresence(t.Context(), "human:bia", api.PresenceRequest{Presence: "online"}), conversation.ErrScope)
	_, err := op.Do(t.Context(), client.Verb{Verb: conversation.VerbPass, ID: c.ID, IfEpoch: c.Epoch, Key: uuid.NewString(), VerbRequest: api.VerbRequest{To: "human:ana"}})
	require.ErrorIs(t, err, conversation.ErrAtCapacity)
	do(t, ana, conversation.VerbTake, c, api.VerbRequest{})
	agents, err := op.Agents(t.Context())
	require.NoError(t, err)
	require.Equal(t, []api.Agent{{Agent: "human:ana", Name: "Ana", Capacity: &none, Given: 0, Active: 1, Presence: "online"}}, agents.Agents)
}

func TestAnAmbiguousPartIsSettledByAHuman(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Turn.Patience = 50 * time.Millisecond
	b.evo.before = func(w http.ResponseWriter, _ *http.Request, _ sentText, attempt int) bool {
		if attempt == 1 {
			w.WriteHeader(http.StatusBadGateway) // sent or not? it is in no history
		}
		return attempt == 1
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	op := r.as("operator:o")
	var c api.Conversation
	b.eventually("the conversation waits for a human", func() bool {
		list, err := op.List(t.Context(), client.Filter{State: "HUMAN_QUEUED"})
		require.NoError(t, err)
		if len(list.Conversations) == 1 {
			c = list.Conversations[0]
		}
		return c.ID != ""
	})
	c, err := op.Get(t.Context(), c.ID)
	require.NoError(t, err)
	require.NotNil(t, c.Turn)
	require.NotNil(t, c.Turn.Ambiguous)
	require.True(t, c.Turn.Ambiguous.Finished)
	// Handed back as it is, the AI would be silent: it comes back to the queue until somebody has looked.
	c = do(t, op, conversation.VerbHandback, c, api.VerbRequest{})
	b.eventually("the conversation waits for a human again", func() bool {
		c, err = op.Get(t.Context(), c.ID)
		require.NoError(t, err)
		return c.State == "HUMAN_QUEUED"
	})
	require.Equal(t, 1, b.count("select count(*) from turn"), "the AI is silent as long as the part's fate is unknown")
	_, err = op.Settle(t.Context(), c.ID, c.Turn.No, api.SettleRequest{Part: 1, Sent: false})
	require.NoError(t, err)
	do(t, op, conversation.VerbHandback, c, api.VerbRequest{})
	b.settled()
	require.Equal(t, []string{"eco: oi"}, b.evo.words(), "asked again, and sent once")
	_, err = op.Settle(t.Context(), c.ID, 1, api.SettleRequest{Part: 1, Sent: true})
	require.ErrorIs(t, err, conversation.ErrTurnClosed)
}

func TestTheClientTellsAProxyFromTheRouter(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Config{URL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	_, err = c.Agents(t.Context())
	require.True(t, errors.Is(err, client.ErrUnreachable))
	_, err = client.New(client.Config{URL: "router:8080"})
	require.Error(t, err)
}
