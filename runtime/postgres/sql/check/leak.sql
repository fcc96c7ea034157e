-- I-LEAK. While a part's fate is unknown no other is let out, so of those let out before an epoch ended one at most is settled
-- afterwards. One let out afterwards is I-FENCE's.
, bad as (
    select e.conversation_id as conversation,
           format('%s parts of epoch %s reached the customer after it ended at %s', count(*), e.epoch, e.ended) as what
      from change e
      join turn t on t.conversation_id = e.conversation_id and t.epoch = e.epoch and t.kind = 'ai'
      join outbox o on o.conversation_id = t.conversation_id and o.no = t.no
     where e.known and e.owner like 'ai:%' and o.intent_at <= e.ended
       and (o.sent_at > e.ended or o.state in ('sending', 'ambiguous'))
     group by e.conversation_id, e.epoch, e.ended
    having count(*) > 1
)
