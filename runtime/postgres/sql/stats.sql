-- Only open rows: each part has a partial index, so this stays cheap however long the history is. Messages are counted by
-- way of the conversations that wait for a turn or an owner: those of a conversation humans have are pending for as long as
-- the humans keep it, would be read at each scrape, and would make the oldest one's age an alert that never ends.
-- Lateral, because a join is planned as a scan of every pending row as soon as there are many.
select 'inbox', 'pending', coalesce(sum(i.n), 0)::bigint,
       coalesce(extract(epoch from now() - min(i.oldest)), 0)::float8
  from (select id from conversation where owner_kind = 'ai' and debounce_until is not null
        union all
        select id from conversation where owner_kind = 'none' and debounce_until is not null and state <> 'SUSPENDED') c
 cross join lateral (select count(*) as n, min(received_at) as oldest
                       from inbox where conversation_id = c.id and state = 'pending') i
union all
select 'turn', state, count(*)::bigint, 0 from turn
 where state in ('running', 'replied', 'sending', 'ambiguous') group by state
union all
select 'letter', 'open', count(*)::bigint, 0 from dead_letter where state = 'open'
union all
select 'mirror', '', count(*)::bigint, coalesce(extract(epoch from now() - min(mirror_due)), 0)::float8
  from conversation where mirror_due is not null
union all
select 'part', state, count(*)::bigint, 0 from outbox
 where state in ('queued', 'sending', 'ambiguous') group by state
