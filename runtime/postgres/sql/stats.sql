-- Only open rows: each of the three has a partial index, so this stays cheap however long the history is.
select 'inbox', 'pending', count(*)::bigint,
       coalesce(extract(epoch from now() - min(received_at)), 0)::float8 from inbox where state = 'pending'
union all
select 'turn', state, count(*)::bigint, 0 from turn
 where state in ('running', 'replied', 'sending', 'ambiguous') group by state
union all
select 'part', state, count(*)::bigint, 0 from outbox
 where state in ('queued', 'sending', 'ambiguous') group by state
