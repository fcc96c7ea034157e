package desk

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// Each language has every word, with the same places for what is filled in.
func TestLanguagesAreWhole(t *testing.T) {
	t.Parallel()
	en := reflect.ValueOf(languages["en"])
	for name, w := range languages {
		v := reflect.ValueOf(w)
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			switch v.Field(i).Kind() {
			case reflect.String:
				require.NotEmpty(t, v.Field(i).String(), "%s of %s", field, name)
				require.Equal(t, strings.Count(en.Field(i).String(), "%s"), strings.Count(v.Field(i).String(), "%s"), "%s of %s", field, name)
			case reflect.Map:
				require.ElementsMatch(t, keys(en.Field(i)), keys(v.Field(i)), "%s of %s", field, name)
				for _, k := range v.Field(i).MapKeys() {
					require.Equal(t, strings.Count(en.Field(i).MapIndex(k).String(), "%s"), strings.Count(v.Field(i).MapIndex(k).String(), "%s"), "%s of %s", k, name)
				}
			}
		}
	}
	require.Equal(t, "human 5", languages["en"].name("human:5")[2:])
	require.Equal(t, languages["pt_BR"].edited, wordsIn("xx").edited)
}

func keys(m reflect.Value) (all []string) {
	for _, k := range m.MapKeys() {
		all = append(all, k.String())
	}
	return all
}

func state(status, assignee string) conversation.DeskState {
	return conversation.DeskState{Status: status, Assignee: assignee}
}

func TestMeaning(t *testing.T) {
	t.Parallel()
	ai := conversation.Conversation{State: conversation.AIActive, Owner: conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}}
	human := conversation.Conversation{State: conversation.HumanActive, Owner: conversation.Owner{Kind: conversation.OwnedByHuman, ID: "5"}}
	phone := conversation.Conversation{State: conversation.HumanActive, Owner: conversation.Owner{Kind: conversation.OwnedByHuman, ID: "phone"}}
	queued := conversation.Conversation{State: conversation.HumanQueued, Owner: conversation.Owner{Kind: conversation.OwnedByQueue}}
	idle := conversation.Conversation{State: conversation.Idle, Owner: conversation.Nobody}
	closed := conversation.Conversation{State: conversation.Closed, Owner: conversation.Nobody}
	for _, c := range []struct {
		name       string
		known, now conversation.DeskState
		c          conversation.Conversation
		want       string // verb, and to whom or by whom
	}{
		{"opened by hand", state("pending", ""), state("open", ""), ai, "pass queue"},
		{"opened by hand, nobody has it", state("pending", ""), state("open", ""), idle, "claim queue"},
		{"opened by hand, a human has it", state("pending", ""), state("open", ""), phone, ""},
		{"put off by hand", state("pending", ""), state("snoozed", ""), ai, "pass queue"},
		{"an open one put off", state("open", "user:5"), state("snoozed", "user:5"), human, ""},
		{"one put off comes back", state("snoozed", "user:5"), state("open", "user:5"), human, ""},
		{"opened and assigned", state("pending", ""), state("open", "user:5"), ai, "take human:5"},
		{"assigned while pending", state("pending", ""), state("pending", "user:5"), ai, "take human:5"},
		{"given to another", state("open", "user:5"), state("open", "user:6"), human, "take human:6"},
		{"given to whom has it", state("open", ""), state("open", "user:5"), human, ""},
		{"phone's taken at the desk", state("open", ""), state("open", "user:5"), phone, "take human:5"},
		{"from the queue", state("open", ""), state("open", "user:5"), queued, "take human:5"},
		{"taken off", state("open", "user:5"), state("open", ""), human, "pass queue"},
		{"taken off, waits already", state("open", "user:5"), state("open", ""), queued, ""},
		{"back to the AI", state("open", "user:5"), state("pending", "user:5"), human, "handback operator:chatwoot"},
		{"queue back to the AI", state("open", ""), state("pending", ""), queued, "handback operator:chatwoot"},
		{"back to the AI that has it", state("open", ""), state("pending", ""), ai, ""},
		{"a bot assigned", state("open", "user:5"), state("open", "bot:1"), human, "handback operator:chatwoot"},
		{"a bot assigned to the AI's", state("pending", ""), state("pending", "bot:1"), ai, ""},
		{"resolved", state("pending", ""), state("resolved", ""), ai, "close operator:chatwoot"},
		{"resolved by a human", state("open", "user:5"), state("resolved", "user:5"), human, "close operator:chatwoot"},
		{"resolved and closed", state("open", ""), state("resolved", ""), closed, ""},
		{"reopened", state("resolved", ""), state("open", ""), closed, "claim queue"},
		{"reopened with its user", state("resolved", "user:5"), state("open", "user:5"), closed, "take human:5"},
		{"woken by a message", state("resolved", ""), state("pending", ""), idle, ""},
		{"woken by a message, queued by rule", state("resolved", ""), state("pending", ""), queued, ""},
		{"nothing", state("open", "user:5"), state("open", "user:5"), human, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := meaning(c.known, c.now, c.c)
			to := got.To.String()
			if got.To == (conversation.Owner{}) {
				to = got.Actor.String()
			}
			if c.want == "" {
				require.Empty(t, got.Verb)
				return
			}
			require.Equal(t, c.want, string(got.Verb)+" "+to)
			require.True(t, strings.HasSuffix(got.Reason, "_in_chatwoot"), "no note is made of what agents did themselves")
		})
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	five := conversation.Owner{Kind: conversation.OwnedByHuman, ID: "5"}
	for _, c := range []struct {
		state conversation.State
		owner conversation.Owner
		want  conversation.DeskState
	}{
		{conversation.Idle, conversation.Nobody, state("pending", "")},
		{conversation.Routing, conversation.Nobody, state("pending", "")},
		{conversation.AIActive, conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}, state("pending", "")},
		{conversation.Offered, conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}, state("pending", "")},
		{conversation.Offered, five, state("open", "user:5")}, // whoever is on duty stays so until the offer is accepted
		{conversation.HumanQueued, conversation.Owner{Kind: conversation.OwnedByQueue}, state("open", "")},
		{conversation.HumanActive, five, state("open", "user:5")},
		{conversation.HumanActive, conversation.Owner{Kind: conversation.OwnedByHuman, ID: "phone"}, state("open", "")},
		{conversation.HumanActive, conversation.Owner{Kind: conversation.OwnedByHuman, ID: "05"}, state("open", "")},
		{conversation.Suspended, conversation.Nobody, state("open", "")},
		{conversation.Closed, conversation.Nobody, state("resolved", "")},
	} {
		require.Equal(t, c.want, wanted(conversation.Conversation{State: c.state, Owner: c.owner}), "%s %s", c.state, c.owner)
	}
}

func TestNextTry(t *testing.T) {
	t.Parallel()
	require.Equal(t, "chatwoot:1:7:r1", nextTry("chatwoot:1:7"))
	require.Equal(t, "chatwoot:1:7:r2", nextTry("chatwoot:1:7:r1"))
	require.Equal(t, "chatwoot:1:7:r10", nextTry("chatwoot:1:7:r9"))
}
