package storetest

import (
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var peopleCases = map[string]func(*world){
	"PeopleOfTheDesk":              peopleOfTheDesk,
	"CapacityOfWhomIsKnownLater":   capacityOfWhomIsKnownLater,
	"TeamsAreAsTheyWereToldLatest": teamsAreAsTheyWereToldLatest,
}

func (w *world) people(teams []string, list ...conversation.Person) {
	w.t.Helper()
	require.NoError(w.t, w.store().PutPeople(w.t.Context(), tenant, teams, list, time.Minute))
}

// team are the ids of a team's humans.
func (w *world) team(name string) (ids []string) {
	w.t.Helper()
	list, err := w.store().Mates(w.t.Context(), tenant, name, "")
	require.NoError(w.t, err)
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

func peopleOfTheDesk(w *world) {
	w.capacity(ana, 4)
	w.people([]string{"vendas"}, conversation.Person{ID: ana.ID, Name: "Ana", Email: "Ana@loja.example", Presence: conversation.Online, Teams: []string{"vendas"}},
		conversation.Person{ID: bia.ID, Name: "Bia", Email: "bia@loja.example", Presence: conversation.Away})
	a := w.agent(ana)
	require.Equal(w.t, []any{"Ana", "Ana@loja.example", []string{"vendas"}, conversation.Online, 4}, []any{a.Name, a.Email, a.Teams, a.Presence, *a.Capacity})
	b := w.agent(bia)
	require.Equal(w.t, []any{conversation.Away, 0}, []any{b.Presence, len(b.Teams)})
	require.Nil(w.t, b.Capacity)
	require.Equal(w.t, []string{ana.ID}, w.team("vendas"))
	w.Age(time.Minute)
	require.Equal(w.t, conversation.Unknown, w.agent(ana).Presence, "nobody is believed for ever")
	w.people([]string{"vendas"}, conversation.Person{ID: ana.ID, Name: "Ana Maria", Presence: conversation.Offline})
	a = w.agent(ana)
	require.Equal(w.t, []any{"Ana Maria", conversation.Offline, 4}, []any{a.Name, a.Presence, *a.Capacity})
	require.Empty(w.t, w.team("vendas"))
}

func capacityOfWhomIsKnownLater(w *world) {
	_, err := w.store().PutRules(w.t.Context(), conversation.Rulebook{Tenant: tenant, Version: "one", Text: "one", By: "operator:op",
		Capacities: map[string]int{"ana@loja.example": 2, "bia@loja.example": 3}})
	require.NoError(w.t, err)
	w.people(nil, conversation.Person{ID: ana.ID, Email: "Ana@loja.example", Presence: conversation.Online})
	require.Equal(w.t, 2, *w.agent(ana).Capacity)
	w.capacity(ana, 9) // by the API, since
	w.people(nil, conversation.Person{ID: ana.ID, Email: "Ana@loja.example", Presence: conversation.Online})
	require.Equal(w.t, 9, *w.agent(ana).Capacity)
	_, err = w.store().PutRules(w.t.Context(), conversation.Rulebook{Tenant: tenant, Version: "one", Text: "one", By: "operator:op",
		Capacities: map[string]int{"ana@loja.example": 2}})
	require.NoError(w.t, err)
	require.Equal(w.t, 2, *w.agent(ana).Capacity, "putting a file in force says so again")
}

func teamsAreAsTheyWereToldLatest(w *world) {
	one := conversation.Person{ID: "1", Presence: conversation.Online, Teams: []string{"a", "b"}}
	two := conversation.Person{ID: "2", Presence: conversation.Online, Teams: []string{"b"}}
	w.people([]string{"a", "b"}, one, two)
	require.Equal(w.t, []string{"1"}, w.team("a"))
	require.Equal(w.t, []string{"1", "2"}, w.team("b"))
	one.Teams, two.Teams = []string{"b"}, nil
	w.people([]string{"b", "c"}, one, two)
	require.Empty(w.t, w.team("a"))
	require.Equal(w.t, []string{"1"}, w.team("b"))
	w.people(nil)
	require.Empty(w.t, w.team("b"))
	require.Len(w.t, w.mustAgents(), 2, "who is gone stays known")
}

func (w *world) mustAgents() []conversation.Agent {
	w.t.Helper()
	list, err := w.store().Agents(w.t.Context(), tenant)
	require.NoError(w.t, err)
	return list
}
