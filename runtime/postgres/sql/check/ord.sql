-- I-ORD. What was redriven was passed by on purpose.
, covered as (
    select i.conversation_id, i.turn_no, min(i.seq) as first, max(i.seq) as last
      from scope c join inbox i on i.conversation_id = c.id
     where i.turn_no is not null and i.seq is not null and i.reason <> 'redriven'
     group by i.conversation_id, i.turn_no
), followed as (
    select *, max(last) over (partition by conversation_id order by turn_no rows between unbounded preceding and 1 preceding) as before
      from covered
), part as (
    select o.conversation_id, o.no, o.part, o.state, o.intent_at, row_number() over w as place, lag(o.state) over w as before,
           lag(o.intent_at) over w as intent_before
      from scope c join outbox o on o.conversation_id = c.id
    window w as (partition by o.conversation_id, o.no order by o.part)
), bad as (
    select conversation_id as conversation,
           format('turn %s has message %s, a turn before it has message %s', turn_no, first, before) as what
      from followed where first < before
    union all
    select conversation_id, format('%s messages have number %s', count(*), seq)
      from inbox where id >= $2 and received_at >= $1 and seq is not null
     group by conversation_id, seq
    having count(*) > 1
    union all
    select conversation_id, format('part %s of turn %s is number %s', part, no, place) from part where part <> place
    union all
    select conversation_id, format('part %s of turn %s is %s, and the one before it %s', part, no, state,
                                   case when before = 'sent' then 'was let out later' else before end)
      from part
     where state in ('sending', 'sent', 'ambiguous') and (before <> 'sent' or intent_at < intent_before)
)
