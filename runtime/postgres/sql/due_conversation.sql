-- Locks one conversation whose burst window has ended, which waits for no attachment, has no open turn, and in which nothing is
-- left to be done after the last one, with what its next turn's token is made of. $1 flows that get no turn now, $2 deadline,
-- $3 channels that get none.
-- Its messages are taken by the next statement, not by this one: a message that committed after this statement's
-- snapshot and before the lock would be missed here and stranded. Once the row is locked, no message can commit.
-- "offset 0" keeps each question one about the conversation at hand. Without it they are planned as joins, which on a table that was
-- empty then read every message that waits anywhere, for each conversation.
select c.id, c.tenant, c.epoch, c.last_turn + 1, now() + $2::interval
  from conversation c
 where c.owner_kind = 'ai' and c.debounce_until <= now() and c.owner_id <> all (coalesce($1::text[], '{}'))
   and c.channel <> all (coalesce($3::text[], '{}'))
   and exists (select 1 from inbox i where i.conversation_id = c.id and i.state = 'pending' offset 0)
   and not exists (select 1 from inbox i
                    where i.conversation_id = c.id and i.state = 'pending' and i.media_state = 'wanted' and i.media_until > now()
                   offset 0)
   and not exists (select 1 from turn t
                    where t.conversation_id = c.id and t.kind = 'ai' and t.state in ('running', 'replied', 'sending', 'ambiguous')
                   offset 0)
   and not exists (select 1 from turn t
                    where t.conversation_id = c.id and t.follow is not null and t.kind = 'ai' and t.state = 'done'
                   offset 0)
 order by c.debounce_until
 limit 1
   for update of c skip locked
