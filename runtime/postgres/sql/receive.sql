-- Webhooks, all of one statement and one commit: dedupe marks, aliases, conversations and inbox rows stand or fall together. Each
-- parameter but the last three is an array with an entry for each webhook: $1 tenant, $2 channel, $3 kind, $4 wa id, $5 chat jid, $6 the
-- chat's other jid, $7 another form of either, $8 from me, $9 contact name, $10 type, $11 text, $12 wa time, $13 body, $14 state,
-- $15 reason, $16 the message it is about, $17 what is attached, $18 its conversation begins with it if it is unknown,
-- $19 the channel is mirrored. $20 quiet, $21 cap, $22 how long a turn waits for an attachment.
--
-- What comes back has no line for an event seen before: a concurrent insert of the same key is waited for, so twenty copies at
-- once give one row. Only a pending event counts as a message and opens a window; an ignored one is filed under its conversation.
-- Rows are locked in the order of their keys, table by table: two of these do not wait for each other in a ring.
--
-- This is the beginning; what follows is receive_marks.sql, for events that are about others, or receive_plain.sql, for a list that has
-- none of these, and receive_rows.sql. Starting a statement costs as much as a dozen events, and each table it might touch a part
-- of that.
--
-- The planner knows nothing of how many events there are and takes them for one or ten: each join of two of these lists would
-- be every pair of them, and each join with a table a guess. So a list carries all its columns along and is joined with none:
-- membership is a hashed "in" (which "is true" keeps from being made a join), a look-up in a table a subquery by its whole key.
with e as materialized (
    select e.*, nextval('inbox_id_seq') as inbox_id
      from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::text[],
                  $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
                  $18::boolean[], $19::boolean[])
           with ordinality as e (tenant, channel, kind, wa_id, jid, alt, form, from_me, name, type, text, wa_ts, body, state, reason,
                                 ref, media, begins, mirror, n)
), key as (
    insert into inbox_key (tenant, channel, wa_id, kind, inbox_id)
    select tenant, channel, wa_id, kind, inbox_id from e order by tenant, channel, wa_id, kind, n
    on conflict do nothing
    returning inbox_id
), fresh as materialized (
    select e.*,
           case when e.jid <> '' then
               (select a.conversation_id from alias a where a.tenant = e.tenant and a.channel = e.channel and a.jid = e.jid) end as by_jid,
           case when e.alt <> '' then
               (select a.conversation_id from alias a where a.tenant = e.tenant and a.channel = e.channel and a.jid = e.alt) end as by_alt,
           case when e.form <> '' then
               (select a.conversation_id from alias a where a.tenant = e.tenant and a.channel = e.channel and a.jid = e.form) end as by_form
      from e
     where (e.inbox_id in (select key.inbox_id from key)) is true
), named as (
    -- "do update" and not "do nothing": it waits for a concurrent first message and returns that one's conversation,
    -- which the snapshot of this statement cannot see.
    insert into alias (tenant, channel, jid, conversation_id)
    select tenant, channel, jid, coalesce(min(coalesce(by_alt, by_form)), nextval('conversation_id_seq'))
      from fresh
     where begins and by_jid is null
     group by tenant, channel, jid
     order by tenant, channel, jid
    on conflict (tenant, channel, jid) do update set conversation_id = alias.conversation_id
    returning tenant, channel, jid, conversation_id
), target as materialized (
    select f.*, coalesce(f.by_jid, (select a.conversation_id from named a
                                     where a.tenant = f.tenant and a.channel = f.channel and a.jid = f.jid),
                         f.by_alt, f.by_form) as id
      from fresh f
), other as (
    insert into alias (tenant, channel, jid, conversation_id)
    select distinct on (t.tenant, t.channel, x.jid) t.tenant, t.channel, x.jid, t.id
      from target t cross join lateral (values (t.alt, t.by_alt), (t.form, t.by_form)) x (jid, has)
     where t.begins and x.jid not in ('', t.jid) and x.has is null
     order by t.tenant, t.channel, x.jid
    on conflict do nothing
), conflict as (
    insert into alias_conflict (tenant, conversation_a, conversation_b)
    select distinct f.tenant, least(x.a, x.b), greatest(x.a, x.b)
      from fresh f cross join lateral (values (f.by_jid, f.by_alt), (f.by_jid, f.by_form), (f.by_alt, f.by_form)) x (a, b)
     where x.a <> x.b
     order by 2, 3
    on conflict do nothing
