-- $1 tenant
select name, agent_kind, agent_id, scopes, created_at, expires_at, revoked_at from api_token where tenant = $1 order by name
