-- I-RYW.
, bad as (
    select 0::bigint as conversation, 'this server is a standby: what it shows may be old' as what where pg_is_in_recovery()
    union all
    select 0, format('%s is %s: a crash loses what was confirmed', name, setting)
      from pg_settings where name in ('fsync', 'synchronous_commit') and setting = 'off'
)
