package desk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/desk"
)

// hires adds an agent to the account, who is in a team.
func (l *lab) hires(name, email string, team float64) string {
	l.Helper()
	id := l.api(l.admin, "POST", "/agents", object{"name": name, "email": email, "role": "agent"})["id"].(float64)
	l.api(l.admin, "POST", fmt.Sprintf("/teams/%.0f/team_members", team), object{"user_ids": []float64{id}})
	return fmt.Sprintf("%.0f", id)
}

// looksIn is a user's open browser.
func (l *lab) looksIn(user string) {
	l.Helper()
	require.NoError(l, l.app.RunScript(l.Context(), strings.NewReader(fmt.Sprintf("OnlineStatusTracker.update_presence(1, 'User', %s)\n", user)), func(string) string { return "" }))
}

// mates are a team's humans, with how they are there.
func (l *lab) mates(team string) map[string]conversation.Presence {
	l.Helper()
	list, err := l.store.Mates(l.Context(), conversation.DefaultTenant, team, "")
	require.NoError(l, err)
	found := map[string]conversation.Presence{}
	for _, m := range list {
		found[m.ID] = m.Presence
	}
	return found
}

// TestPeopleComeFromChatwoot: who is in which team, and there, is known within a sweep.
func TestPeopleComeFromChatwoot(t *testing.T) {
	l := newLab(t)
	team := l.api(l.admin, "POST", "/teams", object{"name": "Vendas", "allow_auto_assign": false})["id"].(float64)
	ana, bia := l.hires("Ana", "ana@loja.example", team), l.hires("Bia", "bia@loja.example", team)
	d, _ := l.desk(func(c *desk.Config) { c.Sweep = 100 * time.Millisecond; c.Poll = 20 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go d.Run(ctx)
	knows := func(want map[string]conversation.Presence) {
		require.Eventually(t, func() bool { return fmt.Sprint(l.mates("vendas")) == fmt.Sprint(want) }, time.Minute, 20*time.Millisecond, "%v", want)
	}
	knows(map[string]conversation.Presence{ana: conversation.Offline, bia: conversation.Offline})
	l.looksIn(ana)
	l.looksIn(bia)
	l.api(l.admin, "PATCH", "/agents/"+bia, object{"availability": "busy"})
	knows(map[string]conversation.Presence{ana: conversation.Online, bia: conversation.Away})
	l.api(l.admin, "DELETE", fmt.Sprintf("/teams/%.0f/team_members", team), object{"user_ids": []string{bia}})
	knows(map[string]conversation.Presence{ana: conversation.Online})
	require.Equal(t, "ana@loja.example", l.text("select email from agent where kind = 'human' and id = $1", ana))
	l.api(l.admin, "DELETE", fmt.Sprintf("/teams/%.0f", team), nil)
	knows(map[string]conversation.Presence{})
}

// offers is the router offering the conversation, which waits in a queue, to a human.
func (l *lab) offers(user string, wait time.Duration) {
	l.Helper()
	l.do(conversation.Command{Verb: conversation.VerbOffer, Actor: conversation.Router, Wait: wait, Else: conversation.ElseReturn,
		To: conversation.Owner{Kind: conversation.OwnedByHuman, ID: user}, Reason: "rule:r"})
}

// TestOffersAreAcceptedInChatwoot: by answering, or by assigning.
func TestOffersAreAcceptedInChatwoot(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	require.NoError(t, l.store.PutPeople(t.Context(), conversation.DefaultTenant, nil, []conversation.Person{{ID: "1", Name: "Dona", Presence: conversation.Online}}, time.Minute))
	l.writes("M1", "oi")
	l.gives()
	queued := func() {
		l.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Router, To: conversation.Owner{Kind: conversation.OwnedByQueue, ID: "vendas"}, Reason: "rule:r"})
	}
	queued()
	l.offers("1", time.Minute)
	l.settle(d)
	require.Equal(t, "open", l.status(), "nobody is assigned to what is offered")
	require.Contains(t, strings.Join(l.shown(), "\n"), "note [@Dona](mention://user/1/Dona): you can accept this conversation within 60 seconds, by answering it or by assigning it to yourself.")
	l.replies("Já vejo isso.")
	l.look(d)
	c := l.now()
	require.Equal(t, []any{conversation.HumanActive, "human:1", true, 1}, []any{c.State, c.Owner.String(), c.Given, seen.of("heard accept")},
		"it was given, and so counts")

	queued()
	l.settle(d)
	l.offers("1", time.Minute)
	l.settle(d)
	l.api(l.admin, "POST", l.display()+"/assignments", object{"assignee_id": 1})
	l.look(d)
	require.Equal(t, []any{"human:1", 2}, []any{l.now().Owner.String(), seen.of("heard accept")})

	// Somebody else takes it all the same; what was offered to them is gone by then, too.
	queued()
	l.offers("99", time.Minute)
	l.settle(d)
	l.replies("Eu vejo.")
	l.look(d)
	require.Equal(t, []any{"human:1", 2, 1, false}, []any{l.now().Owner.String(), seen.of("heard accept"), seen.of("heard take"), l.now().Given})
}
