-- $1 tenant, $2 name, $3 integration, $4 number, $5 hook secret sha256, $6 flow, $7 mirror: once set, it stays. One row if something was written.
insert into channel (tenant, name, integration, number, hook_secret_sha256, flow, mirror)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name) do update
   set integration = excluded.integration,
       number = excluded.number,
       hook_secret_sha256 = excluded.hook_secret_sha256,
       flow = excluded.flow,
       mirror = channel.mirror or excluded.mirror,
       updated_at = now()
 where (channel.integration, channel.number, channel.hook_secret_sha256, channel.flow, channel.mirror)
       is distinct from (excluded.integration, excluded.number, excluded.hook_secret_sha256, excluded.flow, channel.mirror or excluded.mirror)
returning (xmax = 0) as created
