-- $1 instance, $2 boot
update router_process set seen_at = now() where instance_name = $1 and boot_id = $2::uuid
