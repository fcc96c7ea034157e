-- $1 conversation, $2 audit entry of the claim, $3 rule version, $4 kinds, $5 SLAs, $6 since, $7 due
insert into promise (conversation_id, seq, kind, tenant, name, rule_version, turns, since, due)
select c.id, $2::bigint, p.kind, c.tenant, p.name, $3::text, c.last_turn, p.since, p.due
  from conversation c, unnest($4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[]) as p (kind, name, since, due)
 where c.id = $1
