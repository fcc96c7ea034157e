-- +goose Up

-- What customers were promised by SLAs. Nothing is done about one before it is due: see judge_promises.sql.
create table promise (
    id              bigint      generated always as identity primary key,
    conversation_id bigint      not null,
    seq             bigint      not null,                -- the audit entry of the claim that made it
    kind            text        not null check (kind in ('first_response', 'resolution')),
    tenant          text        not null,
    name            text        not null,                -- the SLA's
    rule_version    text        not null,
    turns           integer     not null,                -- the conversation's turns up to this one were before
    since           timestamptz not null,                -- when the customer began to wait
    due             timestamptz not null,
    state           text        not null default 'open' check (state in ('open', 'met', 'broken', 'void')),
    ended_at        timestamptz,                         -- answered, closed, or due and broken
    mirror          text        not null default 'no' check (mirror in ('no', 'wanted', 'done', 'failed')),
    chatwoot_id     bigint,
    unique (conversation_id, seq, kind),
    foreign key (conversation_id, seq) references audit (conversation_id, seq),
    check (due > since),
    check ((state = 'open') = (ended_at is null))
);
create index promise_due on promise (due) where state = 'open';
create index promise_broken on promise (tenant, id) where state = 'broken';
create index promise_mirror on promise (conversation_id) where mirror = 'wanted';

-- +goose Down
drop table promise;
