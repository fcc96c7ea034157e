-- +goose Up

-- What is tried for a conversation, target after target, until somebody has it. A plan belongs to the epoch in which its present
-- target got the conversation: any other change of owner voids it.
create table plan (
    conversation_id bigint      primary key references conversation (id),
    tenant          text        not null,
    epoch           bigint      not null,
    body            jsonb       not null,
    due_at          timestamptz -- when it is to be looked at; null: not before something happens
);
create index plan_due on plan (due_at) where due_at is not null;

-- Labels that people gave a conversation in Chatwoot: rules may ask for them.
alter table chatwoot_conversation add column labels text[] not null default '{}';

-- Conversations nobody has are given out channel by channel.
drop index conversation_unrouted;
create index conversation_unrouted on conversation (channel, debounce_until)
    where owner_kind = 'none' and debounce_until is not null and state <> 'SUSPENDED';

-- What the rules in force say of capacities counts for humans who become known later, too.
alter table rule_set add column capacities jsonb not null default '{}';

-- Whose turn it is to be offered a conversation.
alter table agent add column offered_at timestamptz;
create index conversation_offered on conversation (tenant, offer_kind, offer_agent) where offer_agent is not null;
-- Since when a human has had nothing to do, and who had a conversation last.
create index human_stretch_agent on human_stretch (tenant, agent, ended_at);

-- Called after a conversation was given; with offers, after the router offered one that is to be accepted: what an agent was given and what
-- it is offered stay within its capacity together. Locking the agent makes those who give or offer take turns. The default is for
-- routers that are being replaced.
drop function check_capacity(text, text, text);
-- +goose StatementBegin
create function check_capacity(t text, k text, a text, offers boolean default false) returns void language plpgsql as $$
declare
    bound integer;
    have  integer;
begin
    select capacity into bound from agent where tenant = t and kind = k and id = a and capacity is not null for update;
    if not found then
        return;
    end if;
    select count(*) into have from conversation where owner_kind = k and owner_id = a and tenant = t and given;
    if offers then
        have := have + (select count(*) from conversation
                         where offer_kind = k and offer_agent = a and tenant = t and offer_until > clock_timestamp());
    end if;
    if have > bound then
        raise exception 'agent %:% has capacity %', k, a, bound using errcode = 'PTCAP';
    end if;
end $$;
-- +goose StatementEnd

-- +goose Down
drop function check_capacity(text, text, text, boolean);
-- +goose StatementBegin
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
drop index human_stretch_agent, conversation_offered, conversation_unrouted;
create index conversation_unrouted on conversation (debounce_until)
    where owner_kind = 'none' and debounce_until is not null and state <> 'SUSPENDED';
alter table agent drop column offered_at;
alter table rule_set drop column capacities;
alter table chatwoot_conversation drop column labels;
drop table plan;
