-- Where this connection stands, and where the router last stood. The timeline is in the name of the file that is written now.
select pg_is_in_recovery(),
       (select system_identifier::text from pg_control_system()),
       case when pg_is_in_recovery() then 0
            else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint end,
       coalesce((select system_id from cluster), ''), coalesce((select timeline from cluster), 0),
       coalesce((select generation from cluster), 0)
