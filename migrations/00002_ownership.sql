-- +goose Up

-- What a conversation is waiting for, beside messages. A deadline is a time of this database's clock.
alter table conversation
    add column last_owner_kind text        not null default 'none' check (last_owner_kind in ('none', 'ai', 'human', 'queue')),
    add column last_owner_id   text        not null default '',
    add column last_ai         text        not null default '',     -- who a hand-back goes to
    add column given           boolean     not null default false,  -- the owner was chosen by others: counts against its capacity
    add column owner_since     timestamptz not null default now(),
    add column handovers       integer     not null default 0,      -- from AI to AI since handovers_since: the ping-pong budget
    add column handovers_since timestamptz,
    add column offer_id        bigint,                              -- the audit seq that made the offer; null = none is open
    add column offer_kind      text        check (offer_kind in ('ai', 'human')),
    add column offer_agent     text,
    add column offer_else      text        check (offer_else in ('return', 'queue')),
    add column offer_until     timestamptz,
    add column request_by      text,                                -- who asks for the conversation, as kind:id
    add column request_else    text        check (request_else in ('ignore', 'queue')),
    add column request_until   timestamptz,
    add column silence         interval,                            -- a human silent for so long hands back
    add column silence_until   timestamptz,
    add column held_state      text,                                -- what a resume goes back to
    add column held_kind       text        check (held_kind in ('none', 'ai', 'human', 'queue')),
    add column held_id         text,
    add column stretch_from    bigint,                              -- seq where the running human stretch began; null = none runs
    add column stretch_began   timestamptz,
    add column cluster         bigint      not null default 1,      -- cluster generation the epoch was minted in
    add constraint conversation_offer check ((state = 'OFFERED') = (offer_id is not null)),
    add constraint conversation_offer_whole check (num_nulls(offer_id, offer_kind, offer_agent, offer_else, offer_until) in (0, 5)),
    add constraint conversation_held check ((state = 'SUSPENDED') = (held_state is not null)),
    add constraint conversation_owner_state check (
        case state when 'AI_ACTIVE' then owner_kind = 'ai'
                   when 'HUMAN_ACTIVE' then owner_kind = 'human'
                   when 'HUMAN_QUEUED' then owner_kind = 'queue'
                   when 'OFFERED' then owner_kind <> 'none'
                   else owner_kind = 'none' end);

-- Only conversations that nobody was given are routed: a suspended or closed one has no owner either, but a closed one is
-- reopened by a message.
drop index conversation_unrouted;
create index conversation_unrouted on conversation (debounce_until)
    where owner_kind = 'none' and debounce_until is not null and state <> 'SUSPENDED';
create index conversation_owner on conversation (owner_kind, owner_id, id) where owner_kind <> 'none';
create index conversation_suspended on conversation (id) where state = 'SUSPENDED';
create index conversation_deadline on conversation (least(offer_until, request_until, silence_until))
    where least(offer_until, request_until, silence_until) is not null;

-- 'human': read by a human, inside a human stretch.
alter table inbox drop constraint inbox_state_check;
alter table inbox add constraint inbox_state_check check (state in ('pending', 'taken', 'done', 'human', 'ignored', 'dead'));

-- What an AI must know about the time it was not on duty: messages from_seq to to_seq were a human's.
create table human_stretch (
    conversation_id bigint      not null references conversation (id),
    no              integer     not null,
    tenant          text        not null,
    agent           text        not null, -- who had it at the end
    from_seq        bigint      not null,
    to_seq          bigint      not null, -- below from_seq: the customer wrote nothing meanwhile
    began_at        timestamptz not null,
    ended_at        timestamptz not null,
    epoch           bigint      not null, -- the one that began when the stretch ended
    primary key (conversation_id, no)
);

-- What one agent tells the next. Apart from the audit, which holds nothing a customer said and is never erased.
create table handover (
    conversation_id bigint not null,
    seq             bigint not null,
    tenant          text   not null,
    context         jsonb  not null check (pg_column_size(context) <= 32768), -- 4096 bytes of text can be six times as many here
    primary key (conversation_id, seq),
    foreign key (conversation_id, seq) references audit (conversation_id, seq)
);

-- The answer a key was given. It commits with what the verb did.
create table verb_idem (
    tenant          text        not null,
    key             text        not null,
    request_sha256  bytea       not null,
    conversation_id bigint      not null,
    seq             bigint      not null, -- the audit row of the verb; the newest one before if it changed nothing
    response        text        not null, -- JSON, read as a whole or not at all
    created_at      timestamptz not null default now(),
    primary key (tenant, key)
);
create index verb_idem_age on verb_idem using brin (created_at);

-- Agents that are more than a name: with a bound on how many conversations they may be given at once.
create table agent (
    tenant         text        not null,
    kind           text        not null check (kind in ('ai', 'human')),
    id             text        not null check (id <> ''),
    name           text        not null default '',
    capacity       integer     check (capacity >= 0), -- null: no bound
    capacity_since timestamptz not null default now(),
    presence       text        not null default 'unknown' check (presence in ('online', 'away', 'offline', 'unknown')),
    presence_until timestamptz,
    updated_at     timestamptz not null default now(),
    primary key (tenant, kind, id)
);

-- +goose StatementBegin
-- Called after the conversation was given. Locking the agent makes givers take turns; the count then sees all of them.
-- An agent without a bound is not locked.
create function check_capacity(t text, k text, a text) returns void language plpgsql as $$
declare
    bound integer;
    have  integer;
begin
    select capacity into bound from agent where tenant = t and kind = k and id = a and capacity is not null for update;
    if not found then
        return;
    end if;
    select count(*) into have from conversation where owner_kind = k and owner_id = a and tenant = t and given;
    if have > bound then
        raise exception 'agent %:% has capacity %', k, a, bound using errcode = 'PTCAP';
    end if;
end $$;
-- +goose StatementEnd

-- Who may use the API. The secret itself is nowhere.
create table api_token (
    id            bigint      generated always as identity primary key,
    tenant        text        not null,
    name          text        not null,
    agent_kind    text        not null check (agent_kind in ('ai', 'human', 'operator')),
    agent_id      text        not null check (agent_id <> ''),
    scopes        text[]      not null check (cardinality(scopes) > 0),
    secret_sha256 bytea       not null unique check (octet_length(secret_sha256) = 32),
    created_at    timestamptz not null default now(),
    expires_at    timestamptz,
    revoked_at    timestamptz,
    unique (tenant, name)
);

-- Leases for clients while Redis is down. As the lock in Redis, they are a hint and guard nothing.
create table lock_lease (
    tenant          text        not null,
    conversation_id bigint      not null references conversation (id),
    fence           bigint      not null,
    token           text        not null,
    until           timestamptz not null,
    primary key (tenant, conversation_id)
);

-- Which history this database is on. Another timeline or another system means that commits may have been lost, epochs among
-- them: see recover_cluster.sql.
create table cluster (
    only_one   boolean     primary key default true check (only_one),
    system_id  text        not null,
    timeline   bigint      not null,
    generation bigint      not null default 1,
    changed_at timestamptz not null default now()
);

alter table turn add column cluster bigint not null default 1;

-- A part may be typed for a while before the gate is asked.
alter table outbox add column delay interval not null default interval '0';
-- Which try of its sender let the part pass: an undoing that comes late must not undo the next one.
alter table outbox add column attempt integer not null default 0;
-- Who decided the fate of an ambiguous part, when a human did.
alter table outbox add column decided_by text;

-- +goose Down
alter table outbox drop column decided_by, drop column attempt, drop column delay;
alter table turn drop column cluster;
drop table cluster, lock_lease, api_token, agent, verb_idem, handover, human_stretch;
drop function check_capacity(text, text, text);
update inbox set state = 'done' where state = 'human';
alter table inbox drop constraint inbox_state_check;
alter table inbox add constraint inbox_state_check check (state in ('pending', 'taken', 'done', 'ignored', 'dead'));
drop index conversation_unrouted, conversation_owner, conversation_suspended, conversation_deadline;
alter table conversation
    drop constraint conversation_offer, drop constraint conversation_offer_whole, drop constraint conversation_held,
    drop constraint conversation_owner_state,
    drop column last_owner_kind, drop column last_owner_id, drop column last_ai, drop column given, drop column owner_since,
    drop column handovers, drop column handovers_since, drop column offer_id, drop column offer_kind, drop column offer_agent,
    drop column offer_else, drop column offer_until, drop column request_by, drop column request_else, drop column request_until,
    drop column silence, drop column silence_until, drop column held_state, drop column held_kind, drop column held_id,
    drop column stretch_from, drop column stretch_began, drop column cluster;
create index conversation_unrouted on conversation (debounce_until) where owner_kind = 'none' and debounce_until is not null;
