-- $1 conversation, $2 instance, $3 boot, $4 lease, $5 deadline, $6 cluster. The conversation is locked by due_conversation.sql.
-- No row if another open turn exists after all: one_turn decides.
with c as (
    update conversation
       set last_turn = last_turn + 1, debounce_until = null, debounce_cap = null, updated_at = now()
     where id = $1
    returning id, tenant, epoch, owner_id, last_turn, channel, chat_jid, contact_name
), t as (
    insert into turn (conversation_id, no, tenant, epoch, agent, state, holder_instance, holder_boot, lease_until, deadline, cluster)
    select id, last_turn, tenant, epoch, owner_id, 'running', $2, $3::uuid, now() + $4::interval, now() + $5::interval, $6
      from c
    on conflict (conversation_id) where state in ('running', 'replied', 'sending', 'ambiguous') do nothing
    returning conversation_id, no, gen, deadline, cluster
), taken as (
    update inbox set state = 'taken', turn_no = t.no
      from t
     where inbox.conversation_id = t.conversation_id and inbox.state = 'pending'
)
select c.tenant, c.id, t.no, c.epoch, t.gen, t.deadline, 'running' as state, c.channel, c.owner_id, c.chat_jid,
       c.contact_name, extract(epoch from t.deadline - clock_timestamp())::float8, false as stale, t.cluster
  from c join t on t.conversation_id = c.id
