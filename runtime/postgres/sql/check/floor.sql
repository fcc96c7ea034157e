-- $1 since. An inbox id below which nothing arrived since then; 1 if there is none. Ids grow with time, so it is found by
-- steps back from the newest, where a search by time would read the whole table.
with recursive back as (
    (select id, received_at from inbox order by id desc limit 1)
    union all
    select before.id, before.received_at
      from back
     cross join lateral (select id, received_at from inbox where id <= back.id - 1000 order by id desc limit 1) before
     where back.received_at >= $1
)
select coalesce((select id from back where received_at < $1 order by id limit 1), 1)
