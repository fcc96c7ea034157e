-- $1 conversation, $2 instance, $3 boot, $4 lease, $5 deadline, $6 cluster, $7 how often in a row the turn was begun anew, $8 sha256 of
-- the token. The conversation is locked by due_conversation.sql, or restart_conversation.sql, of which the deadline is.
-- An error if another open turn exists after all: one_turn decides, and the commit that travels behind does nothing.
with c as (
    update conversation
       set last_turn = last_turn + 1, debounce_until = null, debounce_cap = null, restarts = $7, updated_at = now()
     where id = $1
    returning id, tenant, epoch, owner_id, last_turn, channel, chat_jid, contact_name
), t as (
    insert into turn (conversation_id, no, tenant, epoch, agent, state, holder_instance, holder_boot, lease_until, deadline, cluster,
                      token_hash)
    select id, last_turn, tenant, epoch, owner_id, 'running', $2, $3::uuid, now() + $4::interval, $5::timestamptz, $6, $8
      from c
    returning conversation_id, no, gen, deadline, cluster
), taken as (
    update inbox set state = 'taken', turn_no = t.no
      from t
     where inbox.conversation_id = t.conversation_id and inbox.state = 'pending'
)
select c.tenant, c.id, t.no, c.epoch, t.gen, t.deadline, 'running' as state, c.channel, c.owner_id, c.chat_jid,
       c.contact_name, extract(epoch from t.deadline - clock_timestamp())::float8, false as stale, t.cluster, 'ai' as kind
  from c join t on t.conversation_id = c.id
