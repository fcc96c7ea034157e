-- I-MONO.
, step as (
    select a.conversation_id, a.seq, a.epoch_from, a.epoch_to, lag(a.epoch_to) over w as before,
           lead(a.seq) over w is null as newest, c.epoch
      from scope c join audit a on a.conversation_id = c.id
    window w as (partition by a.conversation_id order by a.seq)
), turns as (
    select t.conversation_id, t.no, t.epoch, lag(t.epoch) over (partition by t.conversation_id order by t.no) as before,
           c.epoch as now
      from scope c join turn t on t.conversation_id = c.id
), bad as (
    select conversation_id as conversation,
           format('entry %s goes from epoch %s to %s, the one before ended with %s', seq, epoch_from, epoch_to, before) as what
      from step where epoch_to < epoch_from or epoch_from < before
    union all
    select conversation_id, format('the row is at epoch %s, its newest entry at %s', epoch, epoch_to)
      from step where newest and epoch < epoch_to
    union all
    select a.conversation_id, format('entry %s goes to epoch %s, and absorbed a conversation at %s', a.seq, a.epoch_to, other.epoch_from)
      from scope c
      join audit a on a.conversation_id = c.id and a.verb = 'merge' and a.detail ? 'absorbed'
      join audit other on other.conversation_id = (a.detail ->> 'absorbed')::bigint and other.verb = 'merge'
                      and other.detail ->> 'into' = a.conversation_id::text
     where a.epoch_to <= other.epoch_from
    union all
    select conversation_id, format('turn %s is of epoch %s, the turn before it of %s and the conversation of %s', no, epoch, before, now)
      from turns where epoch < before or epoch > now
    union all
    select c.id, format('human stretch %s ended with epoch %s, the conversation is at %s', s.no, s.epoch, c.epoch)
      from scope c join human_stretch s on s.conversation_id = c.id
     where s.epoch > c.epoch
    union all
    select id, format('its epoch is of cluster generation %s, the cluster is at %s', cluster, (select generation from cluster))
      from conversation where updated_at >= $1 and cluster > (select generation from cluster)
    union all
    select 0, 'the trigger conversation_epoch_guard is missing or off'
     where not exists (select 1 from pg_trigger
                        where tgrelid = to_regclass('conversation') and tgname = 'conversation_epoch_guard' and tgenabled in ('O', 'A'))
)
