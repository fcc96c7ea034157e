-- $1 tenant, $2 channel, $3 delivery id, $4 event name, $5 account, $6 display id, $7 it may mean something, $8 body. One commit: the
-- dedupe mark, the row with the body as it came, and that its conversation is to be looked at. No row: it was heard before.
with key as (
    insert into inbox_key (tenant, channel, wa_id, kind, inbox_id) values ($1, $2, $3, 'chatwoot', nextval('inbox_id_seq'))
    on conflict do nothing
    returning inbox_id
), talk as (
    select m.conversation_id
      from chatwoot_conversation m join conversation c on c.id = m.conversation_id
     where m.account_id = $5 and m.display_id = $6 and c.tenant = $1 and c.channel = $2
), look as (
    update chatwoot_conversation m set look = true
      from talk
     where $7 and m.conversation_id = talk.conversation_id and exists (select 1 from key)
)
insert into inbox (id, tenant, channel, kind, wa_id, conversation_id, type, state, reason, body)
select inbox_id, $1, $2, 'chatwoot', $3, (select conversation_id from talk), $4, 'ignored', 'chatwoot', $8::jsonb from key
returning id
