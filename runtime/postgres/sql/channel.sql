-- $1 name
select name, tenant, hook_secret_sha256, flow, mirror from channel where name = $1
