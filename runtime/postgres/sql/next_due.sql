-- Seconds until there is a turn to claim, or to begin anew; negative if there is one now. $1 flows that get no turn now, $2 most restarts.
-- A conversation that waits for an attachment is due when the content has come, of which its fetcher tells, or when the wait ends.
-- "offset 0": see due_conversation.sql.
select extract(epoch from min(x.at) - clock_timestamp())::float8
  from (
    (select c.debounce_until as at
       from conversation c
      where c.owner_kind = 'ai' and c.debounce_until is not null and c.owner_id <> all (coalesce($1::text[], '{}'))
        and not exists (select 1 from turn t
                         where t.conversation_id = c.id and t.kind = 'ai' and t.state in ('running', 'replied', 'sending', 'ambiguous')
                        offset 0)
        and not exists (select 1 from turn t
                         where t.conversation_id = c.id and t.follow is not null and t.kind = 'ai' and t.state = 'done'
                        offset 0)
        and not exists (select 1 from inbox i
                         where i.conversation_id = c.id and i.state = 'pending' and i.media_state = 'wanted' and i.media_until > now()
                        offset 0)
      order by c.debounce_until
      limit 1)
    union all
    select greatest(h.until, c.debounce_until)
      from (select conversation_id, max(media_until) as until
              from inbox
             where state = 'pending' and media_state = 'wanted' and media_until > now()
             group by conversation_id) h
     cross join lateral (select debounce_until from conversation
                          where id = h.conversation_id and owner_kind = 'ai' and debounce_until is not null
                            and owner_id <> all (coalesce($1::text[], '{}'))
                         offset 0) c
     where not exists (select 1 from turn t
                        where t.conversation_id = h.conversation_id and t.kind = 'ai'
                          and t.state in ('running', 'replied', 'sending', 'ambiguous')
                       offset 0)
    union all
    (select c.debounce_until
       from conversation c
      where c.owner_kind = 'ai' and c.debounce_until is not null and c.restarts < $2
        and c.owner_id <> all (coalesce($1::text[], '{}'))
        and exists (select 1 from turn t
                     where t.conversation_id = c.id and t.kind = 'ai' and t.state = 'running' and t.epoch = c.epoch
                       and greatest(now(), c.debounce_until) < t.created_at + (t.deadline - t.created_at) / 2
                    offset 0)
        and exists (select 1 from agent a
                     where a.tenant = c.tenant and a.kind = 'ai' and a.id = c.owner_id and a.mid_turn = 'merge'
                    offset 0)
        and not exists (select 1 from inbox i
                         where i.conversation_id = c.id and i.state = 'pending' and i.media_state = 'wanted' and i.media_until > now()
                        offset 0)
      order by c.debounce_until
      limit 1)
  ) x
having min(x.at) is not null
