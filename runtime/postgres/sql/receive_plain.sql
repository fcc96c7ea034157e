), judged as (
    select t.*, false as applied, null::bigint as part_of from target t
