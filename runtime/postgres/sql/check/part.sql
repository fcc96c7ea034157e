-- I-PART. A message is one row in one state, so it cannot be in two places; it can be in a place that does not know of it.
, message as (
    select i.conversation_id, i.seq, i.state, i.turn_no, t.state as turn, case
           when i.seq is null then 'has no number'
           when i.state = 'pending' and i.turn_no is not null then 'waits and is in a turn'
           when i.state = 'taken' and coalesce(t.state, '') not in ('running', 'replied', 'sending', 'ambiguous')
           then 'is in no open turn'
           when i.state = 'done' and coalesce(t.state, '') <> 'done'
                and not (coalesce(t.state, '') = 'cancelled'
                         and exists (select 1 from outbox o
                                      where o.conversation_id = i.conversation_id and o.no = i.turn_no and o.state = 'sent'))
           then 'was answered by no turn'
           when i.state = 'dead' and (coalesce(t.state, '') <> 'failed'
                or not exists (select 1 from dead_letter d where d.conversation_id = i.conversation_id and d.turn_no = i.turn_no and d.state <> 'redriven'))
           then 'has no dead letter that is open or dropped'
           when i.state = 'human' and (i.turn_no is not null
                or not exists (select 1 from human_stretch s
                                where s.conversation_id = i.conversation_id and i.seq between s.from_seq and s.to_seq))
           then 'is in no human stretch'
           end as wrong
      from inbox i
      left join turn t on t.conversation_id = i.conversation_id and t.no = i.turn_no
     where i.id >= $2 and i.received_at >= $1 and i.state <> 'ignored'
), bad as (
    select conversation_id as conversation,
           format('message %s, %s%s, %s', seq, state, coalesce(' by turn ' || turn_no || ', ' || turn, ''), wrong) as what
      from message where wrong is not null
)
