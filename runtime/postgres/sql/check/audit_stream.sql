-- I-AUD. $1 conversations updated since then. Every entry in order, beside what its conversation knows of the chain's end.
select c.id, c.version, c.audit_seq, c.last_hash, coalesce(a.seq, 0), coalesce(a.tenant, ''), coalesce(a.at, c.created_at),
       coalesce(a.actor, ''), coalesce(a.verb, ''), coalesce(a.state_from, ''), coalesce(a.state_to, ''),
       coalesce(a.epoch_from, 0), coalesce(a.epoch_to, 0), coalesce(a.reason, ''), coalesce(a.rule_version, ''), a.detail, a.prev, a.hash
  from conversation c left join audit a on a.conversation_id = c.id
 where c.updated_at >= $1
 order by c.id, a.seq
