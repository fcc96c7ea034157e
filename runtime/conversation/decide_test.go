package conversation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	noon     = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	terms    = Terms{Now: noon, Cluster: 1}
	late     = Terms{Now: noon.Add(time.Hour), Cluster: 1}
	aiA      = Owner{Kind: OwnedByAI, ID: "a"}
	aiN      = Owner{Kind: OwnedByAI, ID: "n"}
	ana      = Owner{Kind: OwnedByHuman, ID: "ana"}
	bia      = Owner{Kind: OwnedByHuman, ID: "bia"}
	queue    = Owner{Kind: OwnedByQueue}
	operator = Actor{Kind: ActorOperator, ID: "op"}
)

func acting(o Owner) Actor { return Actor{Kind: ActorKind(o.Kind), ID: o.ID} }

// standing is a conversation in each state: AI a has it or had it last; ana has it, or is offered it. Its offer, its request
// and its human's silence run out a minute after noon.
func standing(s State) Conversation {
	soon := noon.Add(time.Minute)
	c := Conversation{ID: 1, Tenant: "t", State: s, Owner: Nobody, LastOwner: Nobody, Epoch: 5, Version: 7, LastSeq: 3, Flow: "f", Cluster: 1}
	if s == Idle {
		return c
	}
	c.LastAI, c.LastOwner = "a", aiA
	switch s {
	case AIActive:
		c.Owner, c.LastOwner, c.Given = aiA, Nobody, true
		c.Request = &Request{By: "human:bia", Else: ElseIgnore, Until: soon}
	case Offered:
		c.Owner, c.LastOwner = aiA, Nobody
		c.Offer = &Offer{ID: 7, To: ana, Else: ElseReturn, Until: soon}
	case HumanQueued:
		c.Owner = queue
	case HumanActive:
		c.Owner, c.InStretch, c.Silence, c.SilenceUntil = ana, true, time.Minute, soon
	case Suspended:
		c.Held = &Held{State: AIActive, Owner: aiA}
	}
	return c
}

// verbTable is every verb in every state. The columns are who asks: the owner, ana, another AI, another human, an operator,
// the router; ok, or why not: owner (not on duty), state (wrong state), gone, notyet, invalid. After the bar: the state,
// the owner, by how much the epoch grows, what else follows (R revoke, B stretch begins, E ends, D drop, G gives, O offer
// open, Q request open, H something held), and the steps if they are not the verb alone.
const verbTable = `
claim ai:n
  IDLE          -     owner   owner owner  ok     ok     | AI_ACTIVE ai:n 1 G inbound,claim
  ROUTING       -     owner   owner owner  ok     ok     | AI_ACTIVE ai:n 1 G
  AI_ACTIVE     owner owner   owner owner  state  state  |
  OFFERED       owner owner   owner owner  state  state  |
  HUMAN_QUEUED  -     owner   owner owner  state  state  |
  HUMAN_ACTIVE  owner owner   owner owner  state  state  |
  SUSPENDED     -     owner   owner owner  state  state  |
  CLOSED        -     owner   owner owner  ok     ok     | AI_ACTIVE ai:n 1 G reopen,claim
claim human:bia
  ROUTING       -     owner   owner owner  ok     ok     | HUMAN_ACTIVE human:bia 1 BG
claim queue
  ROUTING       -     owner   owner owner  ok     ok     | HUMAN_QUEUED queue 1
pass ai:n
  IDLE          -     state   state state  state  state  |
  ROUTING       -     state   state state  state  state  |
  AI_ACTIVE     ok    owner   owner owner  ok     ok     | AI_ACTIVE ai:n 1 RG
  OFFERED       ok    owner   owner owner  ok     ok     | AI_ACTIVE ai:n 1 RG
  HUMAN_QUEUED  -     owner   owner owner  ok     ok     | AI_ACTIVE ai:n 1 G
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | AI_ACTIVE ai:n 1 EG
  SUSPENDED     -     state   state state  state  state  |
  CLOSED        -     state   state state  state  state  |
pass human:bia
  AI_ACTIVE     ok    owner   owner owner  ok     ok     | HUMAN_ACTIVE human:bia 1 RBG
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | HUMAN_ACTIVE human:bia 1 G
pass queue
  AI_ACTIVE     ok    owner   owner owner  ok     ok     | HUMAN_QUEUED queue 1 R
  HUMAN_QUEUED  -     owner   owner owner  invalid invalid |
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | HUMAN_QUEUED queue 1
pass ai:a
  AI_ACTIVE     invalid owner owner owner  invalid invalid |
queue queue
  ROUTING       -     owner   owner owner  state  state  |
  CLOSED        -     owner   owner owner  state  state  |
  IDLE          -     owner   owner owner  state  state  |
  AI_ACTIVE     owner owner   owner owner  ok     ok     | HUMAN_QUEUED queue 1 R
  OFFERED       owner owner   owner owner  ok     ok     | HUMAN_QUEUED queue 1 R
  HUMAN_QUEUED  -     owner   owner owner  state  state  |
  HUMAN_ACTIVE  owner owner   owner owner  state  state  |
  SUSPENDED     -     owner   owner owner  state  state  |
offer human:bia
  IDLE          -     state   state state  state  state  |
  ROUTING       -     state   state state  state  state  |
  AI_ACTIVE     ok    owner   owner owner  ok     ok     | OFFERED ai:a 0 OQ
  OFFERED       ok    owner   owner owner  ok     ok     | OFFERED ai:a 0 O
  HUMAN_QUEUED  -     owner   owner owner  ok     ok     | OFFERED queue 0 O
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | OFFERED human:ana 0 O
  SUSPENDED     -     state   state state  state  state  |
  CLOSED        -     state   state state  state  state  |
offer human:ana
  HUMAN_ACTIVE  invalid invalid owner owner invalid invalid |
accept
  ROUTING       -     gone    gone  gone   gone   gone   |
  HUMAN_ACTIVE  gone  gone    gone  gone   gone   gone   |
  SUSPENDED     -     gone    gone  gone   gone   gone   |
  IDLE          -     gone    gone  gone   gone   gone   |
  AI_ACTIVE     gone  gone    gone  gone   gone   gone   |
  OFFERED       owner ok      owner owner  ok     ok     | HUMAN_ACTIVE human:ana 1 RBG
  HUMAN_QUEUED  -     gone    gone  gone   gone   gone   |
  CLOSED        -     gone    gone  gone   gone   gone   |
accept late
  OFFERED       gone  gone    gone  gone   gone   gone   |
decline
  IDLE          -     gone    gone  gone   gone   gone   |
  ROUTING       -     gone    gone  gone   gone   gone   |
  HUMAN_QUEUED  -     gone    gone  gone   gone   gone   |
  HUMAN_ACTIVE  gone  gone    gone  gone   gone   gone   |
  SUSPENDED     -     gone    gone  gone   gone   gone   |
  CLOSED        -     gone    gone  gone   gone   gone   |
  AI_ACTIVE     gone  gone    gone  gone   gone   gone   |
  OFFERED       owner ok      owner owner  ok     ok     | AI_ACTIVE ai:a 0
decline late
  OFFERED       gone  gone    gone  gone   gone   gone   |
expire
  HUMAN_QUEUED  -     owner   owner owner  notyet notyet |
  CLOSED        -     owner   owner owner  notyet notyet |
  IDLE          -     owner   owner owner  notyet notyet |
  AI_ACTIVE     owner owner   owner owner  notyet notyet |
  OFFERED       owner owner   owner owner  notyet notyet |
  HUMAN_ACTIVE  owner owner   owner owner  notyet notyet |
expire late
  ROUTING       -     owner   owner owner  notyet notyet |
  AI_ACTIVE     owner owner   owner owner  ok     ok     | AI_ACTIVE ai:a 0
  OFFERED       owner owner   owner owner  ok     ok     | AI_ACTIVE ai:a 0
  HUMAN_ACTIVE  owner owner   owner owner  notyet notyet |
  SUSPENDED     -     owner   owner owner  notyet notyet |
request
  IDLE          -     state   state state  state  state  |
  ROUTING       -     state   state state  state  state  |
  AI_ACTIVE     invalid ok    ok    ok     ok     ok     | AI_ACTIVE ai:a 0 Q
  OFFERED       invalid ok    ok    ok     ok     ok     | OFFERED ai:a 0 OQ
  HUMAN_QUEUED  -     ok      ok    ok     ok     ok     | HUMAN_QUEUED queue 0 Q
  HUMAN_ACTIVE  invalid invalid ok  ok     ok     ok     | HUMAN_ACTIVE human:ana 0 Q
  SUSPENDED     -     state   state state  state  state  |
  CLOSED        -     state   state state  state  state  |
take human:bia
  IDLE          -     owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 B
  ROUTING       -     owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 B
  AI_ACTIVE     owner owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 RB
  OFFERED       owner owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 RB
  HUMAN_QUEUED  -     owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 B
  HUMAN_ACTIVE  owner owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1
  SUSPENDED     -     owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 B
  CLOSED        -     owner   owner ok     ok     ok     | HUMAN_ACTIVE human:bia 1 B
release
  IDLE          -     state   state state  state  state  |
  ROUTING       -     state   state state  state  state  |
  AI_ACTIVE     ok    owner   owner owner  ok     ok     | ROUTING none 1 R
  OFFERED       ok    owner   owner owner  ok     ok     | ROUTING none 1 R
  HUMAN_QUEUED  -     owner   owner owner  ok     ok     | ROUTING none 1
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | ROUTING none 1 E
  SUSPENDED     -     state   state state  state  state  |
  CLOSED        -     state   state state  state  state  |
handback
  ROUTING       -     state   state state  state  state  |
  IDLE          -     state   state state  state  state  |
  AI_ACTIVE     state owner   owner owner  state  state  |
  OFFERED       state owner   owner owner  state  state  |
  HUMAN_QUEUED  -     owner   owner owner  ok     notyet | AI_ACTIVE ai:a 1 G
  HUMAN_ACTIVE  ok    ok      owner owner  ok     notyet | AI_ACTIVE ai:a 1 EG
  SUSPENDED     -     state   state state  state  state  |
  CLOSED        -     state   state state  state  state  |
handback ai:n
  HUMAN_ACTIVE  ok    ok      owner owner  ok     notyet | AI_ACTIVE ai:n 1 EG
handback late
  HUMAN_QUEUED  -     owner   owner owner  ok     notyet | AI_ACTIVE ai:a 1 G
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | AI_ACTIVE ai:a 1 EG
hold
  IDLE          -     owner   owner owner  ok     ok     | SUSPENDED none 0 H
  ROUTING       -     owner   owner owner  ok     ok     | SUSPENDED none 0 H
  AI_ACTIVE     owner owner   owner owner  ok     ok     | SUSPENDED none 1 RH
  OFFERED       owner owner   owner owner  ok     ok     | SUSPENDED none 1 RH
  HUMAN_QUEUED  -     owner   owner owner  ok     ok     | SUSPENDED none 1 H
  HUMAN_ACTIVE  owner owner   owner owner  ok     ok     | SUSPENDED none 1 H
  SUSPENDED     -     owner   owner owner  state  state  |
  CLOSED        -     owner   owner owner  ok     ok     | SUSPENDED none 0 H
recover
  IDLE          -     owner   owner owner  ok     ok     | SUSPENDED none 0 H
  ROUTING       -     owner   owner owner  ok     ok     | SUSPENDED none 0 H
  OFFERED       owner owner   owner owner  ok     ok     | SUSPENDED none 1 RH
  HUMAN_QUEUED  -     owner   owner owner  ok     ok     | SUSPENDED none 1 H
  HUMAN_ACTIVE  owner owner   owner owner  ok     ok     | SUSPENDED none 1 H
  CLOSED        -     owner   owner owner  ok     ok     | SUSPENDED none 0 H
  AI_ACTIVE     owner owner   owner owner  ok     ok     | SUSPENDED none 1 RH
  SUSPENDED     -     owner   owner owner  state  state  |
resume
  ROUTING       -     owner   owner owner  state  state  |
  OFFERED       owner owner   owner owner  state  state  |
  HUMAN_QUEUED  -     owner   owner owner  state  state  |
  HUMAN_ACTIVE  owner owner   owner owner  state  state  |
  IDLE          -     owner   owner owner  state  state  |
  AI_ACTIVE     owner owner   owner owner  state  state  |
  SUSPENDED     -     owner   owner owner  ok     ok     | AI_ACTIVE ai:a 1 G
  CLOSED        -     owner   owner owner  state  state  |
close
  IDLE          -     owner   owner owner  ok     ok     | CLOSED none 0 D
  ROUTING       -     owner   owner owner  ok     ok     | CLOSED none 0 D
  AI_ACTIVE     ok    owner   owner owner  ok     ok     | CLOSED none 1 RD
  OFFERED       ok    owner   owner owner  ok     ok     | CLOSED none 1 RD
  HUMAN_QUEUED  -     owner   owner owner  ok     ok     | CLOSED none 1 D
  HUMAN_ACTIVE  ok    ok      owner owner  ok     ok     | CLOSED none 1 ED
  SUSPENDED     -     owner   owner owner  ok     ok     | CLOSED none 0 D
  CLOSED        -     state   state state  state  state  |
reopen
  ROUTING       -     owner   owner owner  state  state  |
  OFFERED       owner owner   owner owner  state  state  |
  HUMAN_QUEUED  -     owner   owner owner  state  state  |
  HUMAN_ACTIVE  owner owner   owner owner  state  state  |
  IDLE          -     owner   owner owner  state  state  |
  AI_ACTIVE     owner owner   owner owner  state  state  |
  SUSPENDED     -     owner   owner owner  state  state  |
  CLOSED        -     owner   owner owner  ok     ok     | ROUTING none 0
`

func TestVerbs(t *testing.T) {
	t.Parallel()
	refusals := map[string]error{"owner": ErrNotOwner, "state": ErrWrongState, "gone": ErrOfferGone, "notyet": ErrNotYet, "invalid": ErrInvalid}
	var cmd Command
	var when Terms
	type cell struct {
		Verb
		State
	}
	seen := map[cell]bool{}
	for line := range strings.Lines(verbTable) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			continue
		case !strings.HasPrefix(line, " "):
			cmd, when = commandOf(t, words)
			continue
		}
		before := standing(State(words[0]))
		seen[cell{cmd.Verb, before.State}] = true
		want := strings.Join(words[slices.Index(words, "|")+1:], " ")
		askers := []Actor{acting(before.Owner), acting(ana), {Kind: ActorAI, ID: "x"}, acting(bia), operator, Router}
		for i, answer := range words[1 : len(askers)+1] {
			if answer == "-" {
				continue
			}
			asked := cmd
			asked.Actor, asked.IfEpoch = askers[i], before.Epoch
			if asked.Verb == VerbAccept || asked.Verb == VerbDecline {
				asked.Offer = 7
			}
			stale := asked
			stale.IfEpoch--
			_, err := Decide(before, stale, when)
			require.ErrorIs(t, err, ErrStaleEpoch, "whoever asks")
			name := fmt.Sprintf("%s %s by %s, %s late=%t", asked.Verb, asked.To, asked.Actor, before.State, when == late)
			change, err := Decide(before, asked, when)
			if answer != "ok" {
				require.ErrorIs(t, err, refusals[answer], name)
				require.Zero(t, change, name)
				var refused *RefusedError
				if errors.As(err, &refused) {
					require.Equal(t, before, refused.Now, "a refusal says where the conversation stands")
				} else {
					require.Equal(t, "invalid", answer, name)
				}
				continue
			}
			require.NoError(t, err, name)
			require.Equal(t, want, summary(before, change, asked.Verb), name)
			require.Equal(t, asked.Actor, change.Steps[len(change.Steps)-1].Actor, name)
		}
	}
	for _, v := range append(Verbs(), VerbQueue, VerbRecover) {
		for _, s := range States() {
			require.True(t, seen[cell{v, s}], "the table has no %s in state %s", v, s)
		}
	}
}

// commandOf reads a headline of the table: the verb, then whom it goes to, or that it is late.
func commandOf(t *testing.T, words []string) (Command, Terms) {
	cmd, when := Command{Verb: Verb(words[0])}, terms
	if cmd.Verb == VerbOffer || cmd.Verb == VerbRequest {
		cmd.Wait = time.Minute
	}
	for _, w := range words[1:] {
		if w == "late" {
			when = late
			continue
		}
		to, err := ParseOwner(w)
		require.NoError(t, err)
		cmd.To = to
	}
	return cmd, when
}

// summary is a change as the table writes it.
func summary(before Conversation, ch Change, verb Verb) string {
	a := ch.After
	flags := ""
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"R", ch.Revoke}, {"B", ch.StretchBegins}, {"E", ch.StretchEnds}, {"D", ch.Drop}, {"G", ch.Gives},
		{"O", a.Offer != nil}, {"Q", a.Request != nil}, {"H", a.Held != nil},
	} {
		if f.set {
			flags += f.name
		}
	}
	s := fmt.Sprintf("%s %s %d", a.State, a.Owner, a.Epoch-before.Epoch)
	if flags != "" {
		s += " " + flags
	}
	var steps []string
	for _, st := range ch.Steps {
		steps = append(steps, string(st.Verb))
	}
	if len(steps) != 1 || steps[0] != string(verb) {
		s += " " + strings.Join(steps, ",")
	}
	return s
}

func TestUnknownVerbIsInvalid(t *testing.T) {
	t.Parallel()
	for _, v := range []Verb{"", "inbound", "steal"} {
		_, err := Decide(standing(AIActive), Command{Verb: v, IfEpoch: 5, Actor: operator}, terms)
		require.ErrorIs(t, err, ErrInvalid)
	}
}

func TestCommandMakesSense(t *testing.T) {
	t.Parallel()
	var (
		long  = strings.Repeat("x", 201)
		pass  = Command{Verb: VerbPass, To: aiN}
		offer = Command{Verb: VerbOffer, To: ana, Wait: time.Second}
	)
	with := func(c Command, f func(*Command)) Command { f(&c); return c }
	for _, c := range []struct {
		why string // part of the error; empty: none
		cmd Command
	}{
		{"", pass},
		{"", offer},
		{"", Command{Verb: VerbTake, IfEpoch: AnyEpoch, Actor: acting(ana)}},
		{"", Command{Verb: VerbHandback}},
		{"", Command{Verb: VerbRequest, Wait: MaxWait, Else: ElseQueue}},
		{"", with(pass, func(c *Command) { c.Context = json.RawMessage(`{}`) })},
		{"", with(pass, func(c *Command) { c.Context = json.RawMessage(`{"a":"` + strings.Repeat("x", 4088) + `"}`) })},
		{"name the epoch", with(pass, func(c *Command) { c.IfEpoch = AnyEpoch })},
		{"is negative", with(pass, func(c *Command) { c.IfEpoch = -2 })},
		{"idempotency key has 201", with(pass, func(c *Command) { c.Key = long })},
		{"reason has 201", with(pass, func(c *Command) { c.Reason = long })},
		{"NUL", with(pass, func(c *Command) { c.Reason = "a\x00" })},
		{"NUL", with(pass, func(c *Command) { c.Key = "a\x00" })},
		{"NUL", with(pass, func(c *Command) { c.To.ID = "a\x00" })},
		{"is not between", with(offer, func(c *Command) { c.Wait = -time.Second })},
		{"is not between", with(offer, func(c *Command) { c.Wait = MaxWait + 1 })},
		{"message number -1", Command{Verb: VerbHandback, Through: -1}},
		{"is not a JSON object", with(pass, func(c *Command) { c.Context = json.RawMessage(`[1]`) })},
		{"is not a JSON object", with(pass, func(c *Command) { c.Context = json.RawMessage(`null`) })},
		{"is not a JSON object", with(pass, func(c *Command) { c.Context = json.RawMessage(`{`) })},
		{"context has 4097", with(pass, func(c *Command) { c.Context = json.RawMessage(`{"a":"` + strings.Repeat("x", 4089) + `"}`) })},
		{"carry a context", Command{Verb: VerbTake, To: ana, Context: json.RawMessage(`{}`)}},
		{"write ai:FLOW", Command{Verb: VerbPass}},
		{"write ai:FLOW", Command{Verb: VerbTake, Actor: operator}},
		{"write ai:FLOW", Command{Verb: VerbPass, To: Nobody}},
		{"an id of 1 to 128", Command{Verb: VerbTake, Actor: Actor{Kind: ActorHuman}}},
		{"goes to nobody", Command{Verb: VerbRelease, To: aiN}},
		{"an id of 1 to 128", Command{Verb: VerbPass, To: Owner{Kind: OwnedByAI}}},
		{"an id of 1 to 128", Command{Verb: VerbPass, To: Owner{Kind: OwnedByHuman, ID: strings.Repeat("x", 129)}}},
		{"at most 128", Command{Verb: VerbPass, To: Owner{Kind: OwnedByQueue, ID: strings.Repeat("x", 129)}}},
		{"not of the kind", Command{Verb: VerbTake, To: aiN}},
		{"not of the kind", Command{Verb: VerbHandback, To: ana}},
		{"not of the kind", Command{Verb: VerbOffer, To: queue, Wait: time.Second}},
		{"how long to wait", Command{Verb: VerbOffer, To: ana}},
		{"how long to wait", Command{Verb: VerbRequest, Wait: time.Microsecond}},
		{"no otherwise", with(pass, func(c *Command) { c.Else = ElseQueue })},
		{`otherwise "ignore"`, with(offer, func(c *Command) { c.Else = ElseIgnore })},
		{"", promising()},
		{"only the router's claim promises", with(promising(), func(c *Command) { c.Actor = operator })},
		{"only the router's claim promises", with(promising(), func(c *Command) { c.Verb = VerbPass })},
		{`"soon" is none of`, with(promising(), func(c *Command) { c.Promises[0].Kind = "soon" })},
		{"promised twice", with(promising(), func(c *Command) { c.Promises[1].Kind = FirstResponse })},
		{"name has 1 to 128", with(promising(), func(c *Command) { c.Promises[1].Name = "" })},
		{"name has 1 to 128", with(promising(), func(c *Command) { c.Promises[1].Name = "a\x00" })},
		{"before the customer began to wait", with(promising(), func(c *Command) { c.Promises[0].Due = c.Promises[0].Since })},
		{`otherwise "return"`, Command{Verb: VerbRequest, Wait: time.Second, Else: ElseReturn}},
	} {
		err := c.cmd.Check()
		if c.why == "" {
			require.NoError(t, err, "%+v", c.cmd)
			continue
		}
		require.ErrorIs(t, err, ErrInvalid, "%+v", c.cmd)
		require.ErrorContains(t, err, c.why, "%+v", c.cmd)
		_, decided := Decide(standing(AIActive), c.cmd, terms)
		require.Equal(t, err, decided, "a decision checks first")
	}
}

// promising is a claim that promises both.
func promising() Command {
	since := time.Unix(1, 0)
	return Command{Verb: VerbClaim, To: aiN, Actor: Router, Promises: []Promise{
		{Kind: FirstResponse, Name: "vip", Since: since, Due: since.Add(time.Minute)}, {Kind: Resolution, Name: "vip", Since: since, Due: since.Add(time.Hour)},
	}}
}

func TestOnlyABeginningPromises(t *testing.T) {
	t.Parallel()
	for state, want := range map[State]int{Idle: 2, Closed: 2, Routing: 0} {
		c := promising()
		c.IfEpoch = standing(state).Epoch
		change, err := Decide(standing(state), c, terms)
		require.NoError(t, err)
		require.Len(t, change.Promises, want, state)
	}
}

func TestSumTellsCommandsApartButNotTheirKeys(t *testing.T) {
	t.Parallel()
	a := Command{Verb: VerbPass, Conversation: 1, IfEpoch: 3, To: aiN, Actor: operator, Key: "k"}
	b := a
	b.Key = "other"
	require.Equal(t, a.Sum(), b.Sum())
	for name, change := range map[string]func(*Command){
		"verb": func(c *Command) { c.Verb = VerbOffer }, "tenant": func(c *Command) { c.Tenant = "u" },
		"conversation": func(c *Command) { c.Conversation = 2 }, "epoch": func(c *Command) { c.IfEpoch = 4 },
		"actor": func(c *Command) { c.Actor.ID = "x" }, "to": func(c *Command) { c.To = ana },
		"offer": func(c *Command) { c.Offer = 1 }, "wait": func(c *Command) { c.Wait = 1 }, "else": func(c *Command) { c.Else = ElseQueue },
		"through": func(c *Command) { c.Through = 1 }, "reason": func(c *Command) { c.Reason = "x" },
		"context": func(c *Command) { c.Context = json.RawMessage(`{}`) }, "rules": func(c *Command) { c.RuleVersion = "2" },
		"promises": func(c *Command) { c.Promises = promising().Promises },
	} {
		b := a
		change(&b)
		require.NotEqual(t, a.Sum(), b.Sum(), name)
	}
}
