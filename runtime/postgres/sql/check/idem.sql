-- I-IDEM. A key that was forgotten may be used again, so only what came after the remembered answer is compared with it.
, keyed as (
    select a.conversation_id, a.tenant, a.seq, a.at, a.detail ->> 'key' as key
      from scope c join audit a on a.conversation_id = c.id
     where a.detail ? 'key'
), bad as (
    select k.conversation_id as conversation, format('key %s was carried out %s times', quote_literal(k.key), count(distinct k.at)) as what
      from keyed k join verb_idem v on v.tenant = k.tenant and v.key = k.key
     where k.at >= v.created_at
     group by k.conversation_id, k.tenant, k.key
    having count(distinct k.at) > 1
    union all
    select k.conversation_id, format('entry %s carries key %s, which conversation %s has', k.seq, quote_literal(k.key), v.conversation_id)
      from keyed k join verb_idem v on v.tenant = k.tenant and v.key = k.key
     where k.at >= v.created_at and k.conversation_id <> v.conversation_id
    union all
    select k.conversation_id, format('entry %s carries key %s, whose answer is not remembered', k.seq, quote_literal(k.key))
      from keyed k left join verb_idem v on v.tenant = k.tenant and v.key = k.key
     where v.key is null and k.at > now() - interval '1 hour'
    union all
    select c.id, format('the answer of key %s is not what entry %s says', quote_literal(v.key), v.seq)
      from scope c
      join verb_idem v on v.conversation_id = c.id
      left join audit a on a.conversation_id = v.conversation_id and a.seq = v.seq
     where v.seq > 0
       and (a.seq is null or v.response::jsonb ->> 'Version' <> v.seq::text or v.response::jsonb ->> 'Epoch' <> a.epoch_to::text
            or v.response::jsonb ->> 'State' <> a.state_to)
)
