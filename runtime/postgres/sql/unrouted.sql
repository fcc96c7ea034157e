-- $1 limit
select c.id, c.tenant, c.channel, ch.flow, c.state, c.epoch
  from conversation c
  join channel ch on ch.name = c.channel
 where c.owner_kind = 'none' and c.debounce_until is not null and c.state <> 'SUSPENDED'
 order by c.debounce_until
 limit $1
