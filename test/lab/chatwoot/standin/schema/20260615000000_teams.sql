ALTER TABLE account_users ADD COLUMN availability text NOT NULL DEFAULT 'online' CHECK (availability IN ('online', 'offline', 'busy')),
    ADD COLUMN auto_offline boolean NOT NULL DEFAULT true;

CREATE TABLE teams (
    id                bigserial PRIMARY KEY,
    account_id        bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name              text NOT NULL CHECK (name = lower(name)),
    description       text,
    allow_auto_assign boolean NOT NULL DEFAULT true,
    UNIQUE (name, account_id)
);

CREATE TABLE team_members (
    team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);
