package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// routerScript is what a double of the router pretends to be. Conversations and trails are the domain's own types, their fields
// in lower case.
type routerScript struct {
	// Token is the only one that works; it is operator:operator's.
	Token string
	// Ingress means that only the Host header router.localhost is answered, as behind the ingress.
	Ingress bool
	// Now is the database's clock.
	Now           time.Time
	Conversations []conversation.Conversation
	// Trails are audits by conversation.
	Trails map[conversation.ID][]conversation.Recorded
	// Page is the longest page given; zero means as long as asked for.
	Page int
	// Faults befall the requests that change something, one each, in order: lost (done, but the answer is cut off), drop (cut
	// off before it is done), busy (503), gateway (an ingress answers 502), steal (human:bia takes the conversation right
	// before), none.
	Faults []string
	// ReadFaults befall readings likewise: drop, gateway, none.
	ReadFaults []string
	// Letters are dead letters, likewise.
	Letters []conversation.DeadLetter
	// Scopes, where given, are all the token has.
	Scopes []conversation.Scope
	// Channels are the domain's own type; Pairings is what a channel answers to connect, by name.
	Channels []conversation.Line
	Pairings map[string]conversation.Pairing
	// Rules are in force; by version also those that were.
	Rules    string
	OldRules map[string]string
	// Decisions are the domain's own type, in the order they were made.
	Decisions []conversation.Decided
}

// routerDouble is a running double. It decides with conversation.Decide, and refuses what the router's API refuses.
type routerDouble struct {
	*httptest.Server
	mu     sync.Mutex
	script routerScript
	kept   map[conversation.ID]*conversation.Conversation
	// done are the results by key; keys numbers them in the order they came.
	done map[string]remembered
	keys []string
	// unknown is the key of a change whose answer was cut off: the next change must carry it.
	unknown string
	asked   []string
}

type remembered struct {
	sum    [32]byte
	result api.VerbResult
}

func newRouterDouble(script routerScript) *routerDouble {
	d := &routerDouble{script: script, kept: map[conversation.ID]*conversation.Conversation{}, done: map[string]remembered{}}
	if d.script.Trails == nil {
		d.script.Trails = map[conversation.ID][]conversation.Recorded{}
	}
	for _, c := range script.Conversations {
		if c.LastOwner.Kind == "" {
			c.LastOwner = conversation.Nobody
		}
		d.kept[c.ID] = &c
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/conversations", d.reading(d.list))
	mux.HandleFunc("GET /v1/conversations/{id}", d.reading(d.get))
	mux.HandleFunc("GET /v1/conversations/{id}/audit", d.reading(d.audit))
	for _, verb := range conversation.Verbs() {
		mux.HandleFunc("POST /v1/conversations/{id}/"+string(verb), d.changing(func(r *http.Request, body []byte) (any, error) {
			return d.do(r, verb, body)
		}))
	}
	mux.HandleFunc("POST /v1/conversations/{id}/turns/{no}/settle", d.changing(d.settle))
	mux.HandleFunc("GET /v1/channels", d.reading(d.channels))
	mux.HandleFunc("GET /v1/channels/{name}", d.reading(d.channel))
	mux.HandleFunc("POST /v1/channels/{name}/connect", d.changing(d.connect))
	mux.HandleFunc("GET /v1/rules", d.reading(d.rules))
	mux.HandleFunc("GET /v1/rules/{version}", d.reading(d.rules))
	mux.HandleFunc("PUT /v1/rules", d.changing(d.putRules))
	mux.HandleFunc("GET /v1/decisions", d.reading(d.decisions))
	mux.HandleFunc("GET /v1/dead-letters", d.reading(d.letters))
	mux.HandleFunc("GET /v1/dead-letters/{letter}", d.reading(func(r *http.Request) (any, error) {
		l, err := d.letter(r.PathValue("letter"))
		if err != nil {
			return nil, err
		}
		return api.FromDeadLetter(*l), nil
	}))
	for verb, state := range map[string]conversation.LetterState{"redrive": conversation.LetterRedriven, "drop": conversation.LetterDropped} {
		mux.HandleFunc("POST /v1/dead-letters/{letter}/"+verb, d.changing(func(r *http.Request, body []byte) (any, error) {
			var in api.DropRequest
			if err := strict(body, &in); err != nil && state == conversation.LetterDropped {
				return nil, err
			}
			l, err := d.decide(r.PathValue("letter"), state, in.Reason)
			if err != nil {
				return nil, err
			}
			return api.FromDeadLetter(*l), nil
		}))
		mux.HandleFunc("POST /v1/dead-letters/"+verb, d.changing(func(_ *http.Request, body []byte) (any, error) {
			return d.decideAll(body, state)
		}))
	}
	d.Server = httptest.NewServer(mux)
	return d
}

// answered is an answer that is not in the table of errors.
type answered struct {
	status int
	body   api.Error
}

func (a answered) Error() string { return a.body.Message }

// unlike is a request that the real router would not understand, or a client should not send.
func unlike(format string, args ...any) error {
	return answered{http.StatusBadRequest, api.Error{Code: "double", Message: fmt.Sprintf(format, args...)}}
}

func answer(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	var told answered
	switch {
	case errors.As(err, &told):
		status, value = told.status, told.body
	case err != nil:
		status, value = api.FromError(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// let checks what every request must have.
func (d *routerDouble) let(r *http.Request, scope conversation.Scope) error {
	switch {
	case d.script.Ingress && !strings.HasPrefix(r.Host, "router.localhost:"):
		return unlike("host %q", r.Host)
	case r.Header.Get("Authorization") != "Bearer "+d.script.Token:
		return conversation.ErrBadToken
	case d.script.Scopes != nil && !slices.Contains(d.script.Scopes, scope):
		return fmt.Errorf("token %q needs %s: %w", "t", scope, conversation.ErrScope)
	}
	return nil
}

func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func next(faults *[]string) string {
	if len(*faults) == 0 {
		return "none"
	}
	fault := (*faults)[0]
	*faults = (*faults)[1:]
	return fault
}

func gateway(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }

func (d *routerDouble) reading(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked = append(d.asked, "GET "+r.URL.RequestURI())
		switch next(&d.script.ReadFaults) {
		case "drop":
			cut(w)
			return
		case "gateway":
			gateway(w)
			return
		}
		if err := d.let(r, conversation.ScopeRead); err != nil {
			answer(w, nil, err)
			return
		}
		value, err := handle(r)
		answer(w, value, err)
	}
}

func (d *routerDouble) changing(handle func(*http.Request, []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		d.asked = append(d.asked, d.line(r, body))
		if err := d.let(r, conversation.ScopeOperate); err != nil {
			answer(w, nil, err)
			return
		}
		fault := next(&d.script.Faults)
		key := r.Header.Get("Idempotency-Key")
		if d.unknown != "" && key != d.unknown {
			answer(w, nil, unlike("the outcome of key %s is not known, and here comes another", d.unknown))
			return
		}
		d.unknown = ""
		switch fault {
		case "drop", "gateway", "busy":
			d.unknown = key
			d.fail(w, fault)
			return
		case "steal":
			id, _ := conversation.ParseOwner("human:bia")
			d.apply(r, conversation.Command{Verb: conversation.VerbTake, To: id, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "bia"}, IfEpoch: conversation.AnyEpoch})
		}
		value, err := handle(r, body)
		if fault == "lost" {
			d.unknown = key
			cut(w)
			return
		}
		answer(w, value, err)
	}
}

func (d *routerDouble) fail(w http.ResponseWriter, fault string) {
	switch fault {
	case "drop":
		cut(w)
	case "gateway":
		gateway(w)
	case "busy":
		answer(w, nil, conversation.ErrUnavailable)
	}
}

// line is a change as the transcripts compare it: a key is told by its number, since it is random.
func (d *routerDouble) line(r *http.Request, body []byte) string {
	said := r.Method + " " + r.URL.Path
	if epoch := r.Header.Get("If-Match"); epoch != "" {
		said += " if-match=" + epoch
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		if !slices.Contains(d.keys, key) {
			d.keys = append(d.keys, key)
		}
		said += " key=" + strconv.Itoa(slices.Index(d.keys, key)+1)
	}
	return strings.TrimSpace(said + " " + string(body))
}

func (d *routerDouble) find(r *http.Request) (*conversation.Conversation, error) {
	n, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if c := d.kept[conversation.ID(n)]; err == nil && c != nil {
		return c, nil
	}
	return nil, conversation.ErrNotFound
}

// query refuses parameters the router does not know.
func query(r *http.Request, names ...string) (url.Values, error) {
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			return nil, unlike("query parameter %q", name)
		}
	}
	return r.URL.Query(), nil
}

func number(q url.Values, name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

func (d *routerDouble) list(r *http.Request) (any, error) {
	q, err := query(r, "state", "owner", "channel", "after", "limit")
	if err != nil {
		return nil, err
	}
	limit := number(q, "limit", 50)
	if limit < 1 || limit > 500 {
		return nil, unlike("limit %d", limit)
	}
	if d.script.Page > 0 {
		limit = min(limit, int64(d.script.Page))
	}
	kind, id, _ := strings.Cut(q.Get("owner"), ":")
	list := api.Conversations{Conversations: []api.Conversation{}}
	for _, n := range slices.Sorted(maps.Keys(d.kept)) {
		c := d.kept[n]
		switch {
		case int64(n) <= number(q, "after", 0), q.Get("state") != "" && q.Get("state") != string(c.State),
			kind != "" && kind != string(c.Owner.Kind), id != "" && id != c.Owner.ID, q.Get("channel") != "" && q.Get("channel") != c.Channel:
			continue
		case int64(len(list.Conversations)) == limit:
			list.Next = list.Conversations[limit-1].ID
			return list, nil
		}
		shown := api.FromConversation(*c)
		shown.Turn = nil
		list.Conversations = append(list.Conversations, shown)
	}
	return list, nil
}

func (d *routerDouble) get(r *http.Request) (any, error) {
	c, err := d.find(r)
	if err != nil {
		return nil, err
	}
	return api.FromConversation(*c), nil
}

func (d *routerDouble) audit(r *http.Request) (any, error) {
	q, err := query(r, "after", "limit")
	if err != nil {
		return nil, err
	}
	c, err := d.find(r)
	if err != nil {
		return nil, err
	}
	limit := int(number(q, "limit", 50))
	if d.script.Page > 0 {
		limit = min(limit, d.script.Page)
	}
	trail := api.AuditTrail{Entries: []api.AuditEntry{}}
	for _, e := range d.script.Trails[c.ID] {
		switch {
		case e.Seq <= number(q, "after", 0):
			continue
		case len(trail.Entries) == limit:
			trail.Next = trail.Entries[limit-1].Seq
			return trail, nil
		}
		trail.Entries = append(trail.Entries, api.FromRecorded(e))
	}
	return trail, nil
}

// do is a verb, with what the router's own handler checks.
func (d *routerDouble) do(r *http.Request, verb conversation.Verb, body []byte) (any, error) {
	key := r.Header.Get("Idempotency-Key")
	if _, err := uuid.Parse(key); err != nil {
		return nil, unlike("Idempotency-Key %q is not drawn", key)
	}
	epoch := conversation.AnyEpoch
	if condition := r.Header.Get("If-Match"); condition != "" {
		n, err := strconv.ParseInt(strings.Trim(condition, `"`), 10, 64)
		if err != nil || condition != strconv.Quote(strconv.FormatInt(n, 10)) {
			return nil, unlike("If-Match %s is not as an ETag gives it", condition)
		}
		epoch = n
	} else if verb != conversation.VerbTake {
		return nil, answered{http.StatusPreconditionRequired, api.Error{Code: api.CodeNoCondition, Message: "name the epoch"}}
	}
	var in api.VerbRequest
	decode := json.NewDecoder(bytes.NewReader(body))
	decode.DisallowUnknownFields()
	if err := decode.Decode(&in); err != nil || r.Header.Get("Content-Type") != "application/json" {
		return nil, unlike("body: %v", err)
	}
	command := conversation.Command{
		Verb: verb, Key: key, IfEpoch: epoch, Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "operator"},
		Offer: in.Offer, Wait: seconds(in.WaitSeconds), Else: conversation.Otherwise(in.Else), Through: in.Through, Reason: in.Reason,
		Context: in.Context,
	}
	if in.To != "" {
		to, err := conversation.ParseOwner(in.To)
		if err != nil {
			return nil, err
		}
		command.To = to
	}
	if before, ok := d.done[key]; ok {
		if before.sum != command.Sum() {
			return nil, conversation.ErrKeyReused
		}
		before.result.Replayed = true
		return before.result, nil
	}
	result, err := d.apply(r, command)
	if err == nil {
		d.done[key] = remembered{command.Sum(), result}
	}
	return result, err
}

func (d *routerDouble) apply(r *http.Request, command conversation.Command) (api.VerbResult, error) {
	c, err := d.find(r)
	if err != nil {
		return api.VerbResult{}, err
	}
	change, err := conversation.Decide(*c, command, conversation.Terms{Now: d.script.Now, Cluster: c.Cluster})
	if err != nil {
		return api.VerbResult{}, err
	}
	for _, step := range change.Steps {
		change.After.Version++
		step.Detail["owner"] = step.Owner.String()
		d.script.Trails[c.ID] = append(d.script.Trails[c.ID], conversation.Recorded{
			Seq: change.After.Version, At: d.script.Now, Actor: step.Actor.String(), Verb: step.Verb, StateFrom: step.StateFrom, StateTo: step.StateTo,
			EpochFrom: step.EpochFrom, EpochTo: step.EpochTo, Reason: step.Reason, RuleVersion: step.RuleVersion, Detail: step.Detail,
		})
	}
	if change.Revoke {
		change.After.Turn = nil
	}
	*c = change.After
	return api.VerbResult{Conversation: api.FromConversation(*c), Seq: c.Version}, nil
}

func (d *routerDouble) settle(r *http.Request, body []byte) (any, error) {
	var in api.SettleRequest
	decode := json.NewDecoder(bytes.NewReader(body))
	decode.DisallowUnknownFields()
	if err := decode.Decode(&in); err != nil {
		return nil, unlike("body: %v", err)
	}
	c, err := d.find(r)
	if err != nil {
		return nil, err
	}
	t := c.Turn
	if t == nil || t.Ambiguous == nil || r.PathValue("no") != strconv.Itoa(t.No) || in.Part != t.Ambiguous.Part {
		return nil, &conversation.RefusedError{Err: conversation.ErrTurnClosed, Now: *c}
	}
	if !t.Ambiguous.Finished {
		return nil, &conversation.RefusedError{Err: conversation.ErrSenderAlive, Now: *c,
			Extra: "restart " + t.Ambiguous.Sender + " first, so that it certainly writes no more"}
	}
	fate := map[bool]string{true: "sent", false: "not_sent"}[in.Sent]
	c.Version++
	d.script.Trails[c.ID] = append(d.script.Trails[c.ID], conversation.Recorded{
		Seq: c.Version, At: d.script.Now, Actor: "operator:operator", Verb: verbSettle, StateFrom: c.State, StateTo: c.State,
		EpochFrom: c.Epoch, EpochTo: c.Epoch, Reason: fate,
		Detail: map[string]string{"owner": c.Owner.String(), "turn": strconv.Itoa(t.No), "part": strconv.Itoa(in.Part)},
	})
	c.Turn = nil
	return api.FromConversation(*c), nil
}

// requests are those that came, a line each.
func (d *routerDouble) requests() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.asked, "\n") + "\n"
}

func (d *routerDouble) channels(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list := api.Channels{Channels: []api.Channel{}}
	for _, l := range d.script.Channels {
		list.Channels = append(list.Channels, api.FromLine(l))
	}
	return list, nil
}

// strict refuses fields the router does not know.
func strict(body []byte, in any) error {
	decode := json.NewDecoder(bytes.NewReader(body))
	decode.DisallowUnknownFields()
	if err := decode.Decode(in); err != nil {
		return unlike("body: %v", err)
	}
	return nil
}

func (d *routerDouble) letter(id string) (*conversation.DeadLetter, error) {
	for i := range d.script.Letters {
		if strconv.FormatInt(d.script.Letters[i].ID, 10) == id {
			return &d.script.Letters[i], nil
		}
	}
	return nil, conversation.ErrNoLetter
}

func (d *routerDouble) letters(r *http.Request) (any, error) {
	q, err := query(r, "state", "reason", "channel", "before", "after", "limit")
	if err != nil {
		return nil, err
	}
	limit := int(number(q, "limit", 50))
	if d.script.Page > 0 {
		limit = min(limit, d.script.Page)
	}
	list := api.DeadLetters{DeadLetters: []api.DeadLetter{}}
	for _, l := range d.script.Letters {
		before, err := time.Parse(time.RFC3339Nano, q.Get("before"))
		switch {
		case q.Get("before") != "" && (err != nil || !l.At.Before(before)),
			q.Get("state") != "" && q.Get("state") != string(l.State), q.Get("reason") != "" && q.Get("reason") != l.Reason,
			q.Get("channel") != "" && q.Get("channel") != l.Channel, l.ID <= number(q, "after", 0):
			continue
		case len(list.DeadLetters) == limit:
			list.Next = list.DeadLetters[limit-1].ID
			return list, nil
		}
		list.DeadLetters = append(list.DeadLetters, api.FromDeadLetter(l))
	}
	return list, nil
}

func (d *routerDouble) channel(r *http.Request) (any, error) {
	for _, l := range d.script.Channels {
		if l.Name == r.PathValue("name") {
			return api.FromLine(l), nil
		}
	}
	return nil, conversation.ErrUnknownChannel
}

func (d *routerDouble) connect(r *http.Request, body []byte) (any, error) {
	var in api.ConnectRequest
	decode := json.NewDecoder(bytes.NewReader(body))
	decode.DisallowUnknownFields()
	if err := decode.Decode(&in); err != nil {
		return nil, unlike("body: %v", err)
	}
	if _, err := d.channel(r); err != nil {
		return nil, err
	}
	p := d.script.Pairings[r.PathValue("name")]
	if in.Number == "" {
		p.Code = ""
	}
	return api.Pairing{Connection: string(p.State), QR: p.QR, Code: p.Code}, nil
}

// decide is what the store does, as far as the conversation's owner decides.
func (d *routerDouble) decide(id string, state conversation.LetterState, why string) (*conversation.DeadLetter, error) {
	l, err := d.letter(id)
	switch {
	case err != nil:
		return nil, err
	case l.State == state:
		return l, nil
	case l.State != conversation.LetterOpen:
		return nil, conversation.ErrDecided
	}
	if c := d.kept[l.Conversation]; c != nil && state == conversation.LetterRedriven && c.Owner.Kind == conversation.OwnedByHuman {
		return nil, &conversation.RefusedError{Err: conversation.ErrHumanOnDuty, Now: *c}
	}
	l.State, l.DecidedBy, l.DecidedAt, l.Decision = state, "operator:operator", d.script.Now, why
	if state == conversation.LetterRedriven {
		l.Messages = 0
	}
	return l, nil
}

func (d *routerDouble) decideAll(body []byte, state conversation.LetterState) (any, error) {
	var in api.LettersRequest
	if err := strict(body, &in); err != nil {
		return nil, err
	}
	if (in.Drop == "") == (state == conversation.LetterDropped) {
		return nil, unlike("drop is %q", in.Drop)
	}
	after, _ := strconv.ParseInt(in.After, 10, 64)
	result := api.LettersResult{Decided: []string{}, Refused: []api.LetterRefuse{}}
	for i, n := 0, 0; i < len(d.script.Letters); i++ {
		l := d.script.Letters[i]
		if l.State != conversation.LetterOpen || l.ID <= after || in.Reason != "" && in.Reason != l.Reason ||
			in.Channel != "" && in.Channel != l.Channel || in.Before != nil && !l.At.Before(*in.Before) {
			continue
		}
		id := strconv.FormatInt(l.ID, 10)
		if n++; d.script.Page > 0 && n > d.script.Page {
			result.Next = strconv.FormatInt(l.ID-1, 10)
			return result, nil
		}
		if _, err := d.decide(id, state, in.Drop); err != nil {
			_, told := api.FromError(err)
			result.Refused = append(result.Refused, api.LetterRefuse{ID: id, Error: told})
			continue
		}
		result.Decided = append(result.Decided, id)
	}
	return result, nil
}
