-- $1 instance, $2 boot
insert into router_process (instance_name, boot_id) values ($1, $2::uuid)
on conflict (instance_name) do update set boot_id = excluded.boot_id, started_at = now(), seen_at = now()
