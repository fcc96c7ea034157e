-- The tables the stand-in keeps. Names and columns follow upstream's where a test may look at them;
-- what is stored in a has_many upstream but read as one list (labels) is one column here.
CREATE TABLE installation_configs (
    name       text PRIMARY KEY,
    value      text NOT NULL
);

CREATE TABLE accounts (
    id         bigserial PRIMARY KEY,
    name       text NOT NULL,
    locale     text NOT NULL DEFAULT 'en',
    status     text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id                 bigserial PRIMARY KEY,
    type               text,
    email              text NOT NULL UNIQUE CHECK (email = lower(email)),
    name               text NOT NULL,
    encrypted_password text NOT NULL,
    confirmed_at       timestamptz,
    pubsub_token       text NOT NULL UNIQUE,
    -- client id -> {"token": sha256 hex of the access token, "expiry": unix seconds}
    tokens             jsonb NOT NULL DEFAULT '{}',
    created_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account_users (
    account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_id    bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('agent', 'administrator')),
    PRIMARY KEY (account_id, user_id)
);

CREATE TABLE access_tokens (
    id         bigserial PRIMARY KEY,
    owner_type text NOT NULL CHECK (owner_type IN ('User', 'AgentBot')),
    owner_id   bigint NOT NULL,
    token      text NOT NULL UNIQUE,
    UNIQUE (owner_type, owner_id)
);

CREATE TABLE channel_api (
    id                    bigserial PRIMARY KEY,
    account_id            bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    webhook_url           text,
    identifier            text NOT NULL UNIQUE,
    hmac_token            text NOT NULL UNIQUE,
    hmac_mandatory        boolean NOT NULL DEFAULT false,
    secret                text NOT NULL,
    additional_attributes jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE inboxes (
    id                           bigserial PRIMARY KEY,
    account_id                   bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    channel_id                   bigint NOT NULL REFERENCES channel_api ON DELETE CASCADE,
    name                         text NOT NULL,
    greeting_enabled             boolean NOT NULL DEFAULT false,
    greeting_message             text,
    enable_auto_assignment       boolean NOT NULL DEFAULT true,
    allow_messages_after_resolved boolean NOT NULL DEFAULT true,
    lock_to_single_conversation  boolean NOT NULL DEFAULT false,
    created_at                   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE inbox_members (
    inbox_id bigint NOT NULL REFERENCES inboxes ON DELETE CASCADE,
    user_id  bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (inbox_id, user_id)
);

CREATE TABLE agent_bots (
    id           bigserial PRIMARY KEY,
    account_id   bigint REFERENCES accounts ON DELETE CASCADE,
    name         text NOT NULL,
    description  text,
    outgoing_url text,
    bot_type     text NOT NULL DEFAULT 'webhook',
    bot_config   jsonb NOT NULL DEFAULT '{}',
    secret       text NOT NULL
);

CREATE TABLE agent_bot_inboxes (
    inbox_id     bigint PRIMARY KEY REFERENCES inboxes ON DELETE CASCADE,
    agent_bot_id bigint NOT NULL REFERENCES agent_bots ON DELETE CASCADE,
    account_id   bigint NOT NULL REFERENCES accounts ON DELETE CASCADE
);

CREATE TABLE webhooks (
    id            bigserial PRIMARY KEY,
    account_id    bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    inbox_id      bigint REFERENCES inboxes ON DELETE CASCADE,
    name          text,
    url           text NOT NULL,
    subscriptions text[] NOT NULL,
    secret        text NOT NULL,
    UNIQUE (account_id, url)
);

CREATE TABLE contacts (
    id                    bigserial PRIMARY KEY,
    account_id            bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name                  text NOT NULL DEFAULT '',
    email                 text,
    phone_number          text,
    identifier            text,
    blocked               boolean NOT NULL DEFAULT false,
    custom_attributes     jsonb NOT NULL DEFAULT '{}',
    additional_attributes jsonb NOT NULL DEFAULT '{}',
    last_activity_at      timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX uniq_email_per_account_contact ON contacts (account_id, email);
CREATE UNIQUE INDEX uniq_phone_per_account_contact ON contacts (account_id, phone_number);
CREATE UNIQUE INDEX uniq_identifier_per_account_contact ON contacts (account_id, identifier);

CREATE TABLE contact_inboxes (
    id            bigserial PRIMARY KEY,
    contact_id    bigint NOT NULL REFERENCES contacts ON DELETE CASCADE,
    inbox_id      bigint NOT NULL REFERENCES inboxes ON DELETE CASCADE,
    source_id     text NOT NULL,
    hmac_verified boolean NOT NULL DEFAULT false,
    pubsub_token  text NOT NULL UNIQUE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (inbox_id, source_id)
);

CREATE TABLE conversations (
    id                     bigserial PRIMARY KEY,
    account_id             bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    display_id             bigint NOT NULL,
    uuid                   uuid NOT NULL UNIQUE,
    inbox_id               bigint NOT NULL REFERENCES inboxes ON DELETE CASCADE,
    contact_id             bigint NOT NULL REFERENCES contacts ON DELETE CASCADE,
    contact_inbox_id       bigint NOT NULL REFERENCES contact_inboxes ON DELETE CASCADE,
    status                 integer NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 3),
    priority               integer CHECK (priority BETWEEN 0 AND 3),
    assignee_id            bigint REFERENCES users ON DELETE SET NULL,
    assignee_agent_bot_id  bigint REFERENCES agent_bots ON DELETE SET NULL,
    labels                 text[] NOT NULL DEFAULT '{}',
    custom_attributes      jsonb NOT NULL DEFAULT '{}',
    additional_attributes  jsonb NOT NULL DEFAULT '{}',
    snoozed_until          timestamptz,
    waiting_since          timestamptz,
    first_reply_created_at timestamptz,
    agent_last_seen_at     timestamptz,
    contact_last_seen_at   timestamptz,
    last_activity_at       timestamptz NOT NULL DEFAULT now(),
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, display_id)
);
CREATE INDEX index_conversations_on_contact_inbox_id ON conversations (contact_inbox_id);

CREATE TABLE messages (
    id                    bigserial PRIMARY KEY,
    account_id            bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    inbox_id              bigint NOT NULL REFERENCES inboxes ON DELETE CASCADE,
    conversation_id       bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    message_type          integer NOT NULL CHECK (message_type BETWEEN 0 AND 3),
    status                integer NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 3),
    content               text,
    content_type          text NOT NULL DEFAULT 'text',
    content_attributes    jsonb NOT NULL DEFAULT '{}',
    additional_attributes jsonb NOT NULL DEFAULT '{}',
    private               boolean NOT NULL DEFAULT false,
    source_id             text,
    sender_type           text CHECK (sender_type IN ('User', 'AgentBot', 'Contact')),
    sender_id             bigint,
    created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX index_messages_on_conversation ON messages (conversation_id, id);
