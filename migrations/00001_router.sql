-- +goose Up

-- A channel is one Evolution instance. Its name is the last path segment of the hook URL, so it is unique by itself.
create table channel (
    name               text        primary key,
    tenant             text        not null default 'default',
    integration        text        not null,
    number             text        not null default '',
    hook_secret_sha256 bytea       not null check (octet_length(hook_secret_sha256) = 32),
    flow               text        not null,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now()
);

create sequence conversation_id_seq as bigint;

-- The conversation row is the authority on who is on duty. epoch is minted here and never goes down.
create table conversation (
    id             bigint      primary key default nextval('conversation_id_seq'),
    tenant         text        not null default 'default',
    channel        text        not null references channel (name),
    chat_jid       text        not null,
    contact_name   text        not null default '',
    state          text        not null default 'IDLE'
        check (state in ('IDLE', 'ROUTING', 'AI_ACTIVE', 'OFFERED', 'HUMAN_QUEUED', 'HUMAN_ACTIVE', 'SUSPENDED', 'CLOSED')),
    owner_kind     text        not null default 'none' check (owner_kind in ('none', 'ai', 'human', 'queue')),
    owner_id       text        not null default '',
    epoch          bigint      not null default 0,
    version        bigint      not null default 0,  -- +1 for every audit row
    last_seq       bigint      not null default 0,  -- arrival number of the newest inbox row
    last_turn      integer     not null default 0,
    debounce_until timestamptz,                     -- not null = messages wait; due when past
    debounce_cap   timestamptz,
    audit_seq      bigint      not null default 0,
    last_hash      bytea       not null default ''::bytea,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
) with (fillfactor = 80);

alter sequence conversation_id_seq owned by conversation.id;

create index conversation_due on conversation (debounce_until) where owner_kind = 'ai' and debounce_until is not null;
create index conversation_unrouted on conversation (debounce_until) where owner_kind = 'none' and debounce_until is not null;

-- +goose StatementBegin
create function conversation_epoch_guard() returns trigger language plpgsql as $$
begin
    if new.epoch < old.epoch then
        raise exception 'conversation %: epoch may not go from % to %', old.id, old.epoch, new.epoch
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
-- +goose StatementEnd

create trigger conversation_epoch_guard before update of epoch on conversation
    for each row execute function conversation_epoch_guard();

-- One contact may be known by several ids (@s.whatsapp.net, @lid); each leads to the same conversation.
create table alias (
    tenant          text        not null,
    channel         text        not null references channel (name),
    jid             text        not null,
    conversation_id bigint      not null references conversation (id),
    created_at      timestamptz not null default now(),
    primary key (tenant, channel, jid)
);

create sequence inbox_id_seq as bigint;

-- The dedupe mark. Apart from inbox, because a partitioned inbox could not enforce uniqueness across its partitions.
create table inbox_key (
    tenant   text   not null,
    channel  text   not null,
    wa_id    text   not null,
    kind     text   not null,
    inbox_id bigint not null,
    day      date   not null default current_date,
    primary key (tenant, channel, wa_id, kind)
);

create table inbox (
    id              bigint      primary key default nextval('inbox_id_seq'),
    tenant          text        not null default 'default',
    channel         text        not null,
    kind            text        not null check (kind in ('message', 'sent', 'status', 'connection', 'unknown')),
    wa_id           text        not null,
    conversation_id bigint      references conversation (id),
    seq             bigint,
    type            text        not null default '',
    text            text        not null default '',
    wa_ts           timestamptz,
    received_at     timestamptz not null default now(),
    state           text        not null check (state in ('pending', 'taken', 'done', 'ignored', 'dead')),
    reason          text        not null default '',
    turn_no         integer,
    body            jsonb       not null,
    check (state <> 'ignored' or reason <> ''),
    check (state not in ('pending', 'taken', 'done', 'dead') or conversation_id is not null)
);

alter sequence inbox_id_seq owned by inbox.id;

create index inbox_pending on inbox (conversation_id, seq) where state = 'pending';
create index inbox_turn on inbox (conversation_id, turn_no) where turn_no is not null;

create table turn (
    conversation_id bigint      not null references conversation (id),
    no              integer     not null,
    tenant          text        not null default 'default',
    epoch           bigint      not null,
    gen             integer     not null default 1,
    agent           text        not null,
    state           text        not null
        check (state in ('running', 'replied', 'sending', 'ambiguous', 'done', 'failed', 'cancelled')),
    reason          text        not null default '',
    token_hash      bytea       not null default ''::bytea,
    holder_instance text        not null,
    holder_boot     uuid        not null,
    lease_until     timestamptz not null,
    deadline        timestamptz not null,
    created_at      timestamptz not null default now(),
    ended_at        timestamptz,
    primary key (conversation_id, no)
) with (fillfactor = 80);

-- The guard that lets Redis disappear: two open turns of one conversation cannot exist. ambiguous is inside it, because
-- an answer whose fate is unknown must keep the AI silent until the fate is known.
create unique index one_turn on turn (conversation_id) where state in ('running', 'replied', 'sending', 'ambiguous');
create index turn_lease on turn (lease_until) where state in ('running', 'replied', 'sending');

create table outbox (
    conversation_id bigint      not null,
    no              integer     not null,
    part            integer     not null,
    tenant          text        not null default 'default',
    channel         text        not null,
    state           text        not null check (state in ('queued', 'sending', 'sent', 'failed', 'ambiguous', 'dropped')),
    reason          text        not null default '',
    gen             integer     not null,
    body            jsonb       not null,
    wa_msg_id       text,
    wa_jid          text,
    sender_instance text        not null default '',
    sender_boot     uuid,
    sender_done     boolean     not null default false, -- the sender itself reported the unknown outcome: it writes no more
    intent_at       timestamptz,
    sent_at         timestamptz,
    confirmed_at    timestamptz,
    checks          integer     not null default 0,
    check_after     timestamptz,
    created_at      timestamptz not null default now(),
    primary key (conversation_id, no, part),
    foreign key (conversation_id, no) references turn (conversation_id, no)
) with (fillfactor = 80);

create index outbox_open on outbox (state) where state in ('queued', 'sending', 'ambiguous');
create index outbox_wa_msg on outbox (tenant, channel, wa_msg_id) where wa_msg_id is not null;

-- Append only: the chain of hashes shows a missing or changed row, the trigger stops the accident.
create table audit (
    conversation_id bigint      not null references conversation (id),
    seq             bigint      not null,
    tenant          text        not null default 'default',
    at              timestamptz not null,
    actor           text        not null,
    verb            text        not null,
    state_from      text        not null,
    state_to        text        not null,
    epoch_from      bigint      not null,
    epoch_to        bigint      not null,
    reason          text        not null,
    rule_version    text        not null default '',
    detail          jsonb       not null default '{}',
    prev            bytea       not null,
    hash            bytea       not null,
    primary key (conversation_id, seq)
);

-- +goose StatementBegin
create function audit_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'audit rows are append only' using errcode = 'insufficient_privilege';
end $$;
-- +goose StatementEnd

create trigger audit_append_only before update or delete on audit
    for each row execute function audit_append_only();
create trigger audit_no_truncate before truncate on audit
    for each statement execute function audit_append_only();

create table dead_letter (
    id              bigint      generated always as identity primary key,
    tenant          text        not null default 'default',
    conversation_id bigint      not null references conversation (id),
    turn_no         integer     not null,
    epoch           bigint      not null,
    gen             integer     not null,
    reason          text        not null,
    detail          text        not null default '',
    at              timestamptz not null default now()
);

create index dead_letter_conversation on dead_letter (conversation_id);

-- One row per replica slot. A boot id that differs from a sender's proves that the sender was replaced.
create table router_process (
    instance_name text        primary key,
    boot_id       uuid        not null,
    started_at    timestamptz not null default now(),
    seen_at       timestamptz not null default now()
);

-- +goose Down
drop table router_process, dead_letter, audit, outbox, turn, inbox, inbox_key, alias, conversation, channel cascade;
drop function audit_append_only(), conversation_epoch_guard();
drop sequence if exists inbox_id_seq, conversation_id_seq;
