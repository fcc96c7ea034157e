-- $1 sha256 of the secret
select tenant, name, agent_kind, agent_id, scopes, expires_at
  from api_token
 where secret_sha256 = $1 and revoked_at is null and (expires_at is null or expires_at > now())
