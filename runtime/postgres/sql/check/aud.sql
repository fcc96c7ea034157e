-- I-AUD, the part that is not a chain: audit_stream.sql reads that. The chains of merged conversations are linked: the entries of
-- both name each other, and the one of the conversation that went on carries the hash of the other's.
, joined as (
    select a.conversation_id, a.seq, a.verb, a.detail, a.hash
      from scope c join audit a on a.conversation_id = c.id
     where a.verb in ('merge', 'follow')
)
, bad as (
    select 0::bigint as conversation, format('the trigger %s is missing or off', wanted.name) as what
      from (values ('audit_append_only'), ('audit_no_truncate')) wanted (name)
     where not exists (select 1 from pg_trigger
                        where tgrelid = to_regclass('audit') and tgname = wanted.name and tgenabled in ('O', 'A'))
    union all
    select c.id, format('it was merged into %s, and no entry says so', c.merged_into)
      from scope c
     where c.merged_into is not null
       and not exists (select 1 from joined j
                        where j.conversation_id = c.id and j.verb = 'merge' and j.detail ->> 'into' = c.merged_into::text)
    union all
    select j.conversation_id, format('entry %s says that it went into %s, and the row says %s', j.seq, j.detail ->> 'into',
                                     coalesce(c.merged_into::text, 'nothing'))
      from joined j join conversation c on c.id = j.conversation_id
     where j.verb = 'merge' and j.detail ? 'into' and c.merged_into is distinct from (j.detail ->> 'into')::bigint
    union all
    select j.conversation_id, format('entry %s, %s, has no counterpart in conversation %s', j.seq, j.verb,
                                     coalesce(j.detail ->> 'into', j.detail ->> 'absorbed', j.detail ->> 'from', 'nobody named'))
      from joined j
     where not exists (
           select 1 from audit other
            where other.conversation_id = coalesce(j.detail ->> 'into', j.detail ->> 'absorbed', j.detail ->> 'from')::bigint
              and other.verb = j.verb
              and case when j.detail ? 'into'
                       then other.detail ->> 'absorbed_hash' = encode(j.hash, 'hex')
                            and coalesce(other.detail ->> 'absorbed', other.detail ->> 'from') = j.conversation_id::text
                       else encode(other.hash, 'hex') = j.detail ->> 'absorbed_hash' and other.detail ->> 'into' = j.conversation_id::text end)
)
