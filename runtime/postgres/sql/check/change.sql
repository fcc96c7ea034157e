-- The epochs of a conversation: when each began and for whom, and when the next change of owner ended it. Entries older than
-- migration 2 name no owner, and then an epoch is not judged at that end.
, change as (
    select a.conversation_id, a.epoch_to as epoch, a.at as began, a.detail ->> 'owner' as owner,
           lead(a.at) over w as ended, lead(a.detail ? 'owner') over w as known
      from scope c join audit a on a.conversation_id = c.id
     where a.epoch_to > a.epoch_from
    window w as (partition by a.conversation_id order by a.seq)
)
