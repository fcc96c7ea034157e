package routing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/routing/rules"
)

func TestWithoutRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flow string
		to   conversation.Owner
	}{
		{"atendimento", conversation.Owner{Kind: conversation.OwnedByAI, ID: "atendimento"}},
		{"", conversation.Owner{Kind: conversation.OwnedByQueue}},
	} {
		u := conversation.Unrouted{Conversation: 7, Flow: c.flow, State: conversation.Idle, Epoch: 3}
		d := Decide(u, nil)
		require.Equal(t, c.to, d.To)
		require.NotEmpty(t, d.Reason, "the audit records why")
		require.NotEmpty(t, d.RuleVersion)
		require.Equal(t, d, Decide(u, nil), "equal facts, equal decisions")
	}
}

const text = `rules:
- {name: hidden, when: 'contact.phone == ""', to: {queue: ""}}
- {name: back, when: 'cause == "released" && last.id == "vendas" && last.since < duration("1h")', to: {queue: vendas, say: Um momento.}}
- {name: new, when: 'history.messages == 0 && message.count == 2 && message.text == "Oi\nQuero comprar"', to: {ai: vendas}}
- {name: old, when: 'history.since > duration("24h") && history.stretches > 0', to: {ai: volta}}
- {name: fails, when: 'message.kinds[7] == "x"', to: {ai: nunca}}
`

func TestByRules(t *testing.T) {
	t.Parallel()
	set, err := rules.Read("rules", []byte(text))
	require.NoError(t, err)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	with := func(state conversation.State, f conversation.Facts) Decision {
		f.Now = now
		if f.Contact.JID == "" {
			f.Contact.JID = "5511987650001@s.whatsapp.net"
		}
		return Decide(conversation.Unrouted{Flow: "atendimento", State: state, Rules: set.Version(), Facts: f}, set)
	}
	vendas := conversation.Owner{Kind: conversation.OwnedByAI, ID: "vendas"}
	require.Equal(t, Decision{To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: "rule:hidden", RuleVersion: set.Version()},
		with(conversation.Idle, conversation.Facts{Contact: conversation.Contact{JID: "77@lid"}}))
	require.Equal(t, Decision{To: conversation.Owner{Kind: conversation.OwnedByQueue, ID: "vendas"}, Reason: "rule:back", RuleVersion: set.Version(), Say: "Um momento."},
		with(conversation.Routing, conversation.Facts{LastOwner: vendas, LastOwnerAt: now.Add(-time.Minute)}))
	require.Equal(t, "rule:new", with(conversation.Idle, conversation.Facts{Texts: []string{"Oi", "Quero comprar"}, Waiting: 2}).Reason)
	require.Equal(t, "rule:old", with(conversation.Closed, conversation.Facts{Before: 3, BeforeAt: now.Add(-25 * time.Hour), Stretches: 1}).Reason)
	d := with(conversation.Idle, conversation.Facts{Before: 3, BeforeAt: now.Add(-time.Hour)})
	require.Equal(t, []any{"channel_flow", "ai:atendimento", set.Version()}, []any{d.Reason, d.To.String(), d.RuleVersion}, "the channel decides, and it is known under which rules")
	require.Len(t, d.Failed, 1)
}

func TestPromises(t *testing.T) {
	t.Parallel()
	set, err := rules.Read("rules", []byte(`rules: [{name: fails, when: 'message.kinds[7] == "x"', to: {ai: nunca}}]
sla:
- {name: fails, when: 'message.kinds[7] == "x"', first_response: 1m}
- {name: vip, when: 'contact.name == "VIP"', first_response: 90s}
- {name: normal, first_response: 5m, resolution: 8h}
`))
	require.NoError(t, err)
	since := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	decide := func(state conversation.State, name string) Decision {
		return Decide(conversation.Unrouted{Flow: "f", State: state, Rules: set.Version(), Facts: conversation.Facts{
			Now: since.Add(time.Minute), Since: since, Contact: conversation.Contact{Name: name}}}, set)
	}
	promised := func(kind conversation.PromiseKind, name string, in time.Duration) conversation.Promise {
		return conversation.Promise{Kind: kind, Name: name, Since: since, Due: since.Add(in)}
	}
	normal := []conversation.Promise{promised(conversation.FirstResponse, "normal", 5*time.Minute), promised(conversation.Resolution, "normal", 8*time.Hour)}
	require.Equal(t, []conversation.Promise{promised(conversation.FirstResponse, "vip", 90*time.Second)}, decide(conversation.Idle, "VIP").Promises)
	d := decide(conversation.Closed, "Ana")
	require.Equal(t, normal, d.Promises, "counted from when the customer began to wait")
	require.Equal(t, []string{"fails", "sla:fails"}, []string{d.Failed[0].Rule, d.Failed[1].Rule})
	require.Empty(t, decide(conversation.Routing, "VIP").Promises, "an agent gave it back")
	require.Empty(t, Decide(conversation.Unrouted{}, nil).Promises)
}

// shelf keeps texts of rules.
type shelf struct {
	conversation.Rulebooks
	texts map[string]string
	reads int
}

func (s *shelf) Rules(_ context.Context, tenant, version string) (conversation.Rulebook, error) {
	s.reads++
	text, ok := s.texts[version]
	if !ok {
		return conversation.Rulebook{}, conversation.ErrUnavailable
	}
	return conversation.Rulebook{Tenant: tenant, Version: version, Text: text}, nil
}

func TestBookFollowsWhatIsInForce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &shelf{texts: map[string]string{
		"one": "rules: [{name: a, when: 'true', to: {ai: a}}]", "two": "rules: [{name: b, when: 'true', to: {ai: b}}]", "new": "rules: {from: the future}",
	}}
	b := NewBook(s, slog.New(slog.NewTextHandler(&log, nil)))
	decide := func(version string) string {
		d, err := b.Decide(t.Context(), conversation.Unrouted{Tenant: "t", Flow: "f", Rules: version})
		require.NoError(t, err)
		return d.To.String() + " " + d.Reason
	}
	require.Equal(t, "ai:f channel_flow", decide(""))
	require.Equal(t, "ai:a rule:a", decide("one"))
	require.Equal(t, "ai:a rule:a", decide("one"))
	require.Equal(t, 1, s.reads, "a version is read once")
	require.Equal(t, "ai:b rule:b", decide("two"))
	require.Equal(t, "ai:f rules_unreadable", decide("new"))
	require.Equal(t, "ai:f rules_unreadable", decide("new"))
	require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"))
	require.Equal(t, "ai:a rule:a", decide("one"), "and back again")
	_, err := b.Decide(t.Context(), conversation.Unrouted{Tenant: "t", Rules: "gone"})
	require.True(t, errors.Is(err, conversation.ErrUnavailable))
}
