-- $1 conversation, $2 epoch. What was handed over with the change of owner that began this epoch: by the pass or the hand-back itself,
-- or by the offer that was accepted, which is the newest before it. Looked for among the newest entries only: an epoch with more of them
-- is an old one, and what was said with it has been told.
with recent as materialized (
    select seq, at, actor, verb, reason, epoch_from, epoch_to from audit where conversation_id = $1 order by seq desc limit 100
), came as (
    select seq, at, actor, verb, reason, epoch_from from recent
     where epoch_to = $2 and epoch_from < $2 and verb in ('pass', 'handback', 'accept')
     order by seq desc limit 1
), told as (
    select seq, at, actor, reason from came where verb <> 'accept'
    union all
    (select a.seq, a.at, a.actor, a.reason
       from came join recent a on a.seq < came.seq and a.verb = 'offer' and a.epoch_to = came.epoch_from
      where came.verb = 'accept'
      order by a.seq desc limit 1)
)
select told.actor, told.at, told.reason, h.context
  from told join handover h on h.conversation_id = $1 and h.seq = told.seq
