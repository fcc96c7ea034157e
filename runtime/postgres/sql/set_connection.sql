-- $1 channel, $2 state, $3 reason, empty: the one that is known for that state, $4 how long ago it was seen to be so. connection_at is when
-- it changed, and only grows: of two looks whose answers cross, the later look counts. What opens is swept: it may have missed something.
-- One row if something changed.
with old as (
    select name, connection, connection_reason,
           case when $3 = '' and connection = $2 then connection_reason else $3::text end as reason
      from channel where name = $1 for no key update
)
update channel c
   set connection = $2, connection_reason = old.reason, connection_at = now() - $4::interval,
       sweep_due = case when $2 = 'open' and old.connection <> 'open' then least(c.sweep_due, now()) else c.sweep_due end
  from old
 where c.name = old.name and (c.connection, c.connection_reason) is distinct from ($2::text, old.reason)
   and (c.connection_at is null or c.connection_at < now() - $4::interval)
returning old.connection, old.connection_reason
