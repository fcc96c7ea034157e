-- $1 tenant, $2 name
update api_token set revoked_at = now() where tenant = $1 and name = $2 and revoked_at is null returning 1
