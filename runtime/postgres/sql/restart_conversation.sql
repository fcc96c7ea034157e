-- Locks one conversation whose running turn is to be begun anew with what was written meanwhile: the agent's policy is merge, the
-- burst window has ended, and the turn has neither passed half its time nor been restarted so often that the customer should have
-- an answer now. $1 most restarts, $2 deadline. "offset 0": see due_conversation.sql.
select c.id, c.tenant, c.epoch, c.last_turn + 1, now() + $2::interval, t.no, c.restarts
  from conversation c
 cross join lateral (select no from turn
                      where conversation_id = c.id and kind = 'ai' and state = 'running' and epoch = c.epoch
                        and now() < created_at + (deadline - created_at) / 2
                     offset 0) t
 where c.owner_kind = 'ai' and c.debounce_until <= now() and c.restarts < $1
   and exists (select 1 from agent a where a.tenant = c.tenant and a.kind = 'ai' and a.id = c.owner_id and a.mid_turn = 'merge' offset 0)
   and exists (select 1 from inbox i where i.conversation_id = c.id and i.state = 'pending' offset 0)
   and not exists (select 1 from inbox i
                    where i.conversation_id = c.id and i.state = 'pending' and i.media_state = 'wanted' and i.media_until > now()
                   offset 0)
 order by c.debounce_until
 limit 1
   for update of c skip locked
