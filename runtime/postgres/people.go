package postgres

import (
	"context"
	"fmt"
	"time"

	"plantao/runtime/conversation"
)

var (
	putPeopleSQL = query("put_people")
	putTeamsSQL  = query("put_teams")
)

// PutPeople implements conversation.People.
func (s *Store) PutPeople(ctx context.Context, tenant string, teams []string, list []conversation.Person, wait time.Duration) error {
	var ids, names, emails, presences, in, who []string
	for _, p := range list {
		ids, names, emails, presences = append(ids, p.ID), append(names, p.Name), append(emails, p.Email), append(presences, string(p.Presence))
		for _, team := range p.Teams {
			in, who = append(in, team), append(who, p.ID)
		}
	}
	err := s.transact(ctx, func(tx *pipe) error {
		tx.queue(putPeopleSQL, tenant, ids, names, emails, presences, wait)
		tx.queue(putTeamsSQL, tenant, append([]string{}, teams...), in, who)
		return tx.commit(ctx)
	})
	if err != nil {
		return fmt.Errorf("write the desk's people: %w", err)
	}
	return nil
}
