-- $1 tenant, $2 name, $3 agent kind, $4 agent id, $5 scopes, $6 sha256 of the secret, $7 expires. A name used again gets the new secret.
insert into api_token (tenant, name, agent_kind, agent_id, scopes, secret_sha256, expires_at) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (tenant, name) do update
   set agent_kind = excluded.agent_kind, agent_id = excluded.agent_id, scopes = excluded.scopes,
       secret_sha256 = excluded.secret_sha256, expires_at = excluded.expires_at, revoked_at = null, created_at = now()
