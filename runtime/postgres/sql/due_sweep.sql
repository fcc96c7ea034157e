-- $1 lease. sweep_due is when the next sweep is due, and while one goes on when it counts as given up. Never swept: due now. Of a channel
-- that is not connected Evolution has nothing new, and that nothing is missing cannot be said.
with due as (
    select name from channel
     where connection = 'open' and (sweep_due is null or sweep_due <= now())
     order by sweep_due nulls first
     limit 1
       for no key update skip locked
)
update channel c set sweep_due = now() + $1::interval from due where c.name = due.name
returning c.name, c.tenant, c.flow, c.mirror, c.swept_to, now(), c.sweep_due,
          coalesce(extract(epoch from now() - c.connection_at), 0)::float8
