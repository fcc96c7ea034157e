-- I-FENCE. An intent is stamped while the conversation's row is locked against a change of owner, and an entry once that lock
-- is had, so their times are ordered as their commits.
, bad as (
    select t.conversation_id as conversation,
           format('part %s of turn %s was let out at %s for %s in epoch %s, which lasted from %s to %s and was of %s',
                  o.part, t.no, o.intent_at, 'ai:' || t.agent, t.epoch, coalesce(e.began::text, 'never'),
                  coalesce(e.ended::text, 'now'), coalesce(e.owner, 'nobody known')) as what
      from scope c
      join turn t on t.conversation_id = c.id
      join outbox o on o.conversation_id = t.conversation_id and o.no = t.no
      left join change e on e.conversation_id = t.conversation_id and e.epoch = t.epoch
     where o.intent_at is not null and t.kind <> 'human'
       and (e.epoch is null or o.intent_at < e.began and e.owner is not null or o.intent_at > e.ended and e.known
            or t.kind = 'ai' and e.owner <> 'ai:' || t.agent)
    union all
    select o.conversation_id, format('part %s of turn %s is %s and was never let out', o.part, o.no, o.state)
      from scope c join outbox o on o.conversation_id = c.id
     where o.state in ('sending', 'sent', 'ambiguous') and o.intent_at is null
    union all
    select c.id, format('turn %s runs for epoch %s, the conversation is %s''s in epoch %s', t.no, t.epoch, c.owner_kind, c.epoch)
      from scope c join turn t on t.conversation_id = c.id
     where t.state = 'running' and (t.epoch <> c.epoch or c.owner_kind <> 'ai')
)
