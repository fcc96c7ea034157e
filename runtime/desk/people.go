package desk

import (
	"context"
	"fmt"
	"strconv"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
)

// presences are Chatwoot's availabilities as the router has them.
var presences = map[string]conversation.Presence{"online": conversation.Online, "busy": conversation.Away, "offline": conversation.Offline}

// believed is for how many sweeps a presence counts that was not told anew: with Chatwoot gone, nobody is there before long.
const believed = 4

// people reads who is in the account, in which team, and there.
func (d *Desk) people(ctx context.Context, tenant string, a chatwoot.Access) error {
	agents, err := d.c.Client.Agents(ctx, a)
	if err != nil {
		return fmt.Errorf("list agents: %w", err)
	}
	teams, err := d.c.Client.Teams(ctx, a)
	if err != nil {
		return fmt.Errorf("list teams: %w", err)
	}
	var names []string
	in := map[int64][]string{}
	for _, t := range teams {
		names = append(names, t.Name)
		members, err := d.c.Client.TeamMembers(ctx, a, t.ID)
		if err != nil {
			return fmt.Errorf("list the members of team %s: %w", t.Name, err)
		}
		for _, m := range members {
			in[m.ID] = append(in[m.ID], t.Name)
		}
	}
	var list []conversation.Person
	for _, who := range agents {
		p := conversation.Person{ID: strconv.FormatInt(who.ID, 10), Name: who.Name, Email: who.Email, Presence: presences[who.Availability], Teams: in[who.ID]}
		if p.Presence == "" {
			p.Presence = conversation.Unknown
		}
		list = append(list, p)
	}
	return d.c.Store.PutPeople(ctx, tenant, names, list, believed*d.c.Sweep)
}
