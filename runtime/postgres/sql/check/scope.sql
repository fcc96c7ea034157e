-- $1 conversations updated since then
select count(*), clock_timestamp() from conversation where updated_at >= $1
