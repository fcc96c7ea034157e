-- The beginning of every check; tail.sql is its end. $1 conversations updated since then (-infinity: all), $2 inbox rows from
-- this id on (0: all), $3 the grace. There is no index on updated_at: it would keep every update of a conversation from
-- staying on its page, to save a scan that is short beside what follows. Nor is there one on inbox (conversation_id), so that
-- messages are narrowed by when they came: by id first, as that is where the index is.
with scope as not materialized (
    select id, tenant, channel, state, owner_kind, owner_id, epoch, version, last_seq, given, contact_name, merged_into
      from conversation where updated_at >= $1::timestamptz
), terms as (
    select $1::timestamptz, $2::bigint, $3::interval -- so that each has its type also where it is not used
)
