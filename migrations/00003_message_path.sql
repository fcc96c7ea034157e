-- +goose Up

alter table channel
    add column mirror            boolean     not null default false, -- its conversations are shown in Chatwoot
    add column connection        text        not null default 'unknown'
        check (connection in ('unknown', 'open', 'connecting', 'close', 'refused')),
    add column connection_reason text        not null default '',
    add column connection_at     timestamptz,
    add column swept_to          timestamptz not null default now(), -- WhatsApp's time up to which nothing is missing in the inbox
    add column sweep_due         timestamptz;                        -- not null: look for what is missing from then on

-- Conversations the router shows in Chatwoot carry mirror, so that a verb need not look at the channel.
alter table conversation
    add column mirror       boolean     not null default false,
    add column mirror_due   timestamptz,                        -- not null: Chatwoot may not show what is here
    add column restarts     integer     not null default 0,     -- turns begun anew since the last one that ended: see merge
    add column session_at   timestamptz default now(),          -- when the contact began to write, first or after a close: see own.sql
    add column merged_into  bigint      references conversation (id),
    -- Nothing brings a merged conversation back: whoever is on duty, is so in the one it went into.
    add constraint conversation_merged check (merged_into is null or state = 'CLOSED' and merged_into <> id);
alter table conversation alter column session_at drop default; -- what is there is in the middle of a session; not one row is written
create index conversation_stray on conversation (debounce_until) where merged_into is not null and debounce_until is not null;
create index conversation_mirror on conversation (mirror_due) where mirror_due is not null;

-- +goose StatementBegin
-- Where a merged conversation went in the end; one that was not merged is itself.
create function merged_target(start bigint) returns bigint language sql stable as $$
    with recursive hop as (
        select id, merged_into from conversation where id = start
        union all
        select c.id, c.merged_into from hop join conversation c on c.id = hop.merged_into
    )
    select id from hop where merged_into is null
$$;
-- +goose StatementEnd

-- A merge takes all ids of a contact along.
create index alias_conversation on alias (conversation_id);

-- Two conversations that turned out to be one contact's. They are merged one after the other, see join.sql.
create table alias_conflict (
    conversation_a bigint      not null references conversation (id),
    conversation_b bigint      not null references conversation (id),
    tenant         text        not null,
    found_at       timestamptz not null default now(),
    look_at        timestamptz not null default now(), -- not before: something was on its way out
    primary key (conversation_a, conversation_b),
    check (conversation_a < conversation_b)
);
create index alias_conflict_due on alias_conflict (look_at);

-- What was attached to a message, in either direction. Kept as long as the message.
create table media (
    id              bigint      generated always as identity primary key,
    tenant          text        not null,
    conversation_id bigint      not null references conversation (id),
    mimetype        text        not null,
    file_name       text        not null default '',
    content         bytea       not null,
    created_at      timestamptz not null default now()
);
alter table media alter column content set storage external; -- it is compressed already

alter table inbox drop constraint inbox_kind_check;
alter table inbox add constraint inbox_kind_check check (kind in
    ('message', 'sent', 'edit', 'revoke', 'status', 'connection', 'channel', 'chatwoot', 'unknown'));
alter table inbox
    add column from_me     boolean     not null default false,
    add column ref         text        not null default '',     -- WhatsApp id of the message it is about: quoted, edited, taken back, reacted to
    add column media       jsonb,                               -- what WhatsApp says of the attachment
    -- Content that came in the webhook itself (data.message.base64) is taken out of body when it is kept in media: the rest of the webhook
    -- stays as it was received.
    add column media_state text        not null default 'none' check (media_state in ('none', 'wanted', 'ready', 'failed')),
    add column media_until timestamptz,                         -- how long a turn waits for it
    add column media_id    bigint      references media (id),
    add column media_tries integer     not null default 0,
    add column media_after timestamptz,                         -- next try; while one goes on, when it counts as given up
    add column mirror      text        not null default 'no' check (mirror in ('no', 'wanted', 'done', 'failed')),
    add column chatwoot_id bigint;
create index inbox_media on inbox (media_after) where media_state = 'wanted';
create index inbox_mirror on inbox (conversation_id, id) where mirror = 'wanted';
-- Written on the channel's own side, by whom is not known yet: see own.sql.
create index inbox_from_me on inbox (id) where state = 'ignored' and reason = 'from_me';
update inbox set reason = 'from_me_before' where state = 'ignored' and reason = 'from_me';

-- 'human': written in Chatwoot; it goes out whoever is on duty, unless the conversation is suspended. 'system': written by the
-- router itself, for the epoch it was written in. Neither keeps an AI from having its turn.
alter table turn
    add column kind   text not null default 'ai' check (kind in ('ai', 'human', 'system')),
    add column source text; -- what it was made from, once: chatwoot:ACCOUNT:MESSAGE
create unique index turn_source on turn (tenant, source) where source is not null;

-- What an AI wants done once its answer is sent: who gets the conversation, or that it is closed. Null again when it is
-- done, or when the turn came to nothing: it may hold what a customer said.
alter table turn add column follow jsonb;
create index turn_follow on turn (conversation_id, no) where follow is not null and kind = 'ai' and state = 'done';
-- Attachments that hold a turn up, and until when.
create index inbox_held on inbox (conversation_id, media_until) where state = 'pending' and media_state = 'wanted';
-- What an agent is told of the time before: see background.sql.
create index inbox_history on inbox (conversation_id, id)
    where state in ('done', 'human', 'dead') or state = 'ignored' and reason in ('human_on_phone', 'closed');
drop index one_turn;
create unique index one_turn on turn (conversation_id)
    where kind = 'ai' and state in ('running', 'replied', 'sending', 'ambiguous');
create index turn_said on turn (conversation_id, no) where kind <> 'ai' and state in ('replied', 'sending');

-- +goose StatementBegin
-- How far a message has come, by WhatsApp's words. What it says comes in any order and again; the furthest counts.
create function delivery_rank(status text) returns integer language sql immutable parallel safe as $$
    select coalesce(array_position(array['', 'ERROR', 'PENDING', 'SERVER_ACK', 'DELIVERY_ACK', 'READ', 'PLAYED'], status), 1)
$$;
-- +goose StatementEnd

alter table outbox
    add column status      text not null default '', -- the furthest WhatsApp has said
    add column mirror      text not null default 'no' check (mirror in ('no', 'wanted', 'done', 'failed')),
    add column shown       text not null default '', -- the status Chatwoot was told
    add column chatwoot_id bigint;
create index outbox_mirror on outbox (conversation_id, no, part)
    where mirror = 'wanted' and state in ('sent', 'failed', 'ambiguous', 'dropped');
create index outbox_shown_failed on outbox (conversation_id) where shown = 'failed';

-- What an agent wants done with messages that come while it thinks, and how it is treated when it does not answer.
alter table agent
    add column mid_turn text not null default 'queue' check (mid_turn in ('queue', 'merge', 'append')),
    add column holding  text not null default ''; -- said to the customer when the agent did not answer; empty: nothing

alter table dead_letter
    add column state      text not null default 'open' check (state in ('open', 'redriven', 'dropped')),
    add column decided_by text,
    add column decided_at timestamptz,
    add column decision   text not null default ''; -- why it was dropped
create index dead_letter_open on dead_letter (tenant, id) where state = 'open';

-- What was set up in Chatwoot for a channel, and what is needed to use it. Secrets are sealed with the router's key.
create table chatwoot_inbox (
    channel     text        primary key references channel (name),
    tenant      text        not null,
    account_id  bigint      not null,
    inbox_id    bigint      not null,
    bot_id      bigint      not null,
    hook_secret bytea       not null, -- signs the inbox's events
    bot_secret  bytea       not null, -- signs the bot's
    bot_token   bytea       not null,
    user_token  bytea       not null,
    swept_at    timestamptz not null default now(), -- Chatwoot's time up to which no activity went unnoticed
    sweep_after timestamptz not null default now(),
    unique (account_id, inbox_id)
);

-- A conversation as Chatwoot has it.
create table chatwoot_conversation (
    conversation_id bigint      primary key references conversation (id),
    account_id      bigint      not null,
    contact_id      bigint,
    source_id       text,
    display_id      bigint,                              -- Chatwoot's number; null: not made yet
    status          text        not null default '',     -- as the router last wrote or accepted it
    assignee        text        not null default '',     -- as above: user:ID, bot:ID, or nobody
    next_status     text,                                -- not null: these were about to be written, and may have been
    next_assignee   text,
    accepted        integer     not null default 0,      -- how often something people did to either was accepted
    last_message    bigint      not null default 0,      -- Chatwoot's messages up to here are dealt with
    noted           bigint      not null default 0,      -- handovers up to this audit entry are shown
    posting         text,                                -- not null: a message with this source_id was about to be posted
    posting_at      timestamptz,
    look            boolean     not null default false,  -- something happened there
    attempts        integer     not null default 0,
    retry_at        timestamptz,
    lease_until     timestamptz,                         -- not null: a replica has it in hand, or had when it ended
    gen             integer     not null default 0,      -- grows each time it is taken in hand
    problem         text        not null default '',
    unique (account_id, display_id)
);
create index chatwoot_conversation_look on chatwoot_conversation (coalesce(retry_at, '-infinity')) where look or lease_until is not null;

-- +goose Down
drop table chatwoot_conversation, chatwoot_inbox;
drop index dead_letter_open;
alter table dead_letter drop column state, drop column decided_by, drop column decided_at, drop column decision;
alter table agent drop column mid_turn, drop column holding;
drop index outbox_mirror, outbox_shown_failed;
alter table outbox drop column status, drop column mirror, drop column shown, drop column chatwoot_id;
drop function delivery_rank(text);
drop index inbox_history, inbox_held, turn_follow;
alter table turn drop column follow;
drop index turn_said, one_turn, turn_source;
delete from outbox o using turn t where t.conversation_id = o.conversation_id and t.no = o.no and t.kind <> 'ai';
delete from turn where kind <> 'ai';
alter table turn drop column kind, drop column source;
create unique index one_turn on turn (conversation_id) where state in ('running', 'replied', 'sending', 'ambiguous');
drop index inbox_from_me, inbox_mirror, inbox_media;
alter table inbox
    drop column from_me, drop column ref, drop column media, drop column media_state, drop column media_until, drop column media_id,
    drop column media_tries, drop column media_after, drop column mirror, drop column chatwoot_id;
update inbox set kind = 'unknown', reason = 'unknown_event' where kind in ('edit', 'revoke', 'channel', 'chatwoot');
alter table inbox drop constraint inbox_kind_check;
alter table inbox add constraint inbox_kind_check check (kind in ('message', 'sent', 'status', 'connection', 'unknown'));
drop table media, alias_conflict;
drop index alias_conversation;
drop function merged_target(bigint);
drop index conversation_mirror, conversation_stray;
alter table conversation
    drop column mirror, drop column mirror_due, drop column restarts, drop column session_at,
    drop column merged_into;
alter table channel
    drop column mirror, drop column connection, drop column connection_reason, drop column connection_at, drop column swept_to,
    drop column sweep_due;
