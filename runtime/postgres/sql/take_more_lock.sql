-- $1 conversation, $2 tenant. With the conversation locked no message can commit, and no turn be begun anew.
select c.state, c.owner_kind, c.owner_id, c.epoch, coalesce(a.mid_turn, 'queue')
  from conversation c
  left join agent a on a.tenant = c.tenant and a.kind = 'ai' and a.id = c.owner_id
 where c.id = $1 and c.tenant = $2
   for no key update of c
