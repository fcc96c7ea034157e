-- Locks one conversation whose burst window has ended and which has no open turn.
-- Its messages are taken by the next statement, not by this one: a message that committed after this statement's
-- snapshot and before the lock would be missed here and stranded. Once the row is locked, no message can commit.
select c.id
  from conversation c
 where c.owner_kind = 'ai' and c.debounce_until <= now()
   and exists (select 1 from inbox i where i.conversation_id = c.id and i.state = 'pending')
   and not exists (select 1 from turn t
                    where t.conversation_id = c.id and t.state in ('running', 'replied', 'sending', 'ambiguous'))
 order by c.debounce_until
 limit 1
   for update of c skip locked
