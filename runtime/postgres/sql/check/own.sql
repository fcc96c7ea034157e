-- I-OWN. A conversation begins with nobody; from an entry that names no owner nothing is concluded. One that absorbed another goes on
-- under an epoch beyond that of both, with the owner it had or, suspended, with nobody.
, step as (
    select a.conversation_id, a.seq, a.verb, a.epoch_from, a.epoch_to, a.detail ->> 'owner' as owner,
           case when a.detail ? 'cluster' then 1001 else 1 end as growth,
           case when a.verb = 'merge' and a.detail ? 'absorbed' then coalesce((a.detail ->> 'absorbed_epoch')::bigint, 0) end as absorbed,
           case when a.seq = 1 then 'none' else lag(a.detail ->> 'owner') over w end as before,
           lag(a.epoch_to) over w as ended
      from scope c join audit a on a.conversation_id = c.id
    window w as (partition by a.conversation_id order by a.seq)
), judged as (
    select *, case
           when absorbed is not null and epoch_to <> greatest(epoch_from, absorbed) + growth and epoch_to > greatest(epoch_from - 1, absorbed)
           then format('merge brought it from epoch %s and the other from %s to %s', epoch_from, absorbed, epoch_to)
           when absorbed is null and owner <> before and epoch_to <> epoch_from + growth and epoch_to >= epoch_from
           then format('%s gave it from %s to %s, and the epoch went from %s to %s', verb, before, owner, epoch_from, epoch_to)
           when absorbed is null and owner = before and epoch_to > epoch_from
           then format('%s left it with %s, and the epoch went from %s to %s', verb, owner, epoch_from, epoch_to)
           when owner <> before and owner like 'ai:%' and verb not in ('claim', 'pass', 'accept', 'handback', 'resume')
           then format('%s gave it to %s', verb, owner)
           when verb = 'merge' and owner not in (before, 'none')
           then format('merge gave it from %s to %s', before, owner)
           when verb = 'take' and owner not like 'human:%'
           then format('%s took it', owner)
           when epoch_from > ended
           then format('the epoch went from %s to %s before %s, without an entry', ended, epoch_from, verb)
           end as wrong
      from step where owner is not null
), bad as (
    select conversation_id as conversation, format('entry %s: %s', seq, wrong) as what from judged where wrong is not null
    union all
    select c.id, format('the row says %s, %s, epoch %s; its newest entry %s, %s, epoch %s',
                        c.state, c.owner, c.epoch, a.state_to, coalesce(a.owner, 'no owner'), a.epoch_to)
      from (select *, owner_kind || case when owner_id = '' then '' else ':' || owner_id end as owner from scope) c
      left join lateral (select state_to, epoch_to, detail ->> 'owner' as owner
                           from audit where conversation_id = c.id order by seq desc limit 1) a on true
     -- A row that went back is I-MONO's.
     where c.epoch >= coalesce(a.epoch_to, 0)
       and (c.epoch <> coalesce(a.epoch_to, 0) or c.state <> coalesce(a.state_to, 'IDLE')
            or a.owner <> c.owner or a.epoch_to is null and c.owner_kind <> 'none')
    union all
    select c.id, format('it was merged into %s and is %s, %s', c.merged_into, c.state, c.owner_kind)
      from scope c
     where c.merged_into is not null and (c.state <> 'CLOSED' or c.owner_kind <> 'none')
)
