-- One service's role and database: :name is both. Its password comes from the file of its name.
-- Statements that carry a password must not reach the server's log when they fail.
SET log_min_error_statement = panic;
SET password_encryption = 'scram-sha-256';
\setenv PLANTAO_ROLE :name
\set password `cat "/run/plantao/password-$PLANTAO_ROLE"`
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT ALL ON DATABASE :"name" TO :"name";
