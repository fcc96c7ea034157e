-- Inside one service's database.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO :"name";
-- Chatwoot's migrations want these and may not create them themselves. What the server does not ship is
-- left out here; Chatwoot's own prepare step then says so.
SELECT format('CREATE EXTENSION IF NOT EXISTS %I', name)
  FROM pg_available_extensions
 WHERE :'name' = 'chatwoot' AND name IN ('pg_stat_statements', 'pg_trgm', 'pgcrypto', 'vector') \gexec
