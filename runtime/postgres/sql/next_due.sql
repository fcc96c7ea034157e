-- Seconds until the next burst window ends in a conversation that could have a turn; negative if it is over.
select extract(epoch from c.debounce_until - clock_timestamp())::float8
  from conversation c
 where c.owner_kind = 'ai' and c.debounce_until is not null
   and not exists (select 1 from turn t
                    where t.conversation_id = c.id and t.state in ('running', 'replied', 'sending', 'ambiguous'))
 order by c.debounce_until
 limit 1
