-- $1 lease, $2 what happened in Chatwoot first. Taking a conversation in hand clears both marks: what comes after it sets them again.
-- If two choose the same one, the second waits for the first and then finds it taken. A lease that ran out is a mark too.
-- Of what is due only the head is read: what is to be tried later is put where it belongs in the line, and is out of the way.
with head as materialized (
    select c.id, c.mirror_due, m.retry_at, m.lease_until
      from conversation c left join chatwoot_conversation m on m.conversation_id = c.id
     where c.mirror_due <= now() and exists (select 1 from chatwoot_inbox i where i.channel = c.channel)
     order by c.mirror_due
     limit 100
), later as (
    select c.id, h.retry_at
      from head h join conversation c on c.id = h.id
     where h.retry_at > now() and c.mirror_due <= now()
       for update of c skip locked
), postponed as (
    update conversation c set mirror_due = later.retry_at from later where c.id = later.id
), due as materialized (
    select id from head
     where (retry_at is null or retry_at <= now()) and (lease_until is null or lease_until < now())
     order by mirror_due
     limit 1
), looked as materialized (
    select conversation_id as id
      from chatwoot_conversation
     where (look or lease_until is not null) and coalesce(retry_at, '-infinity') <= now() and (lease_until is null or lease_until < now())
     order by coalesce(retry_at, '-infinity')
     limit 1
), one as (
    select id from (select id, $2::boolean as first from looked union all select id, not $2::boolean from due) x order by first desc limit 1
), m as (
    insert into chatwoot_conversation as m (conversation_id, account_id, lease_until, gen)
    select c.id, i.account_id, now() + $1::interval, 1
      from one join conversation c on c.id = one.id join chatwoot_inbox i on i.channel = c.channel
    on conflict (conversation_id) do update
       set lease_until = excluded.lease_until, gen = m.gen + 1, look = false, retry_at = null
     where (m.lease_until is null or m.lease_until < now()) and (m.retry_at is null or m.retry_at <= now())
    returning *
), c as (
    update conversation c set mirror_due = null from m where c.id = m.conversation_id
    returning c.*
)
select m.conversation_id, m.gen, c.tenant, c.channel, c.chat_jid, c.contact_name,
       array(select distinct split_part(a.jid, '@', 1) from alias a
              where a.tenant = c.tenant and a.channel = c.channel and a.conversation_id = c.id and a.jid ~ '^[0-9]+(@s\.whatsapp\.net)?$'
              order by 1),
       m.attempts, coalesce(m.contact_id, 0), coalesce(m.source_id, ''), coalesce(m.display_id, 0), m.status, m.assignee,
       m.next_status, m.next_assignee, m.accepted, m.last_message, m.noted, coalesce(m.posting, ''),
       coalesce(extract(epoch from now() - m.posting_at), 0)::float8, m.labels
  from m join c on c.id = m.conversation_id
