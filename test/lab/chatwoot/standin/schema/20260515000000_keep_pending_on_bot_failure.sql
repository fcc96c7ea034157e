-- Upstream keeps this as an account flag: with it, a failing bot leaves the conversation pending.
ALTER TABLE accounts ADD COLUMN keep_pending_on_bot_failure boolean NOT NULL DEFAULT false;
