-- I-AUD, the part that is not a chain: audit_stream.sql reads that.
, bad as (
    select 0::bigint as conversation, format('the trigger %s is missing or off', wanted.name) as what
      from (values ('audit_append_only'), ('audit_no_truncate')) wanted (name)
     where not exists (select 1 from pg_trigger
                        where tgrelid = to_regclass('audit') and tgname = wanted.name and tgenabled in ('O', 'A'))
)
