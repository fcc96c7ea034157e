-- $1 channel, $2 account, $3 display ids, $4 statuses, $5 assignees, $6 newest messages, $7 Chatwoot's time. A conversation that looks as
-- the router left it, or that is in hand, is left alone. What failed lately is looked at, because a Retry shows in no list.
with seen as (
    select * from unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[]) as s (display_id, status, assignee, newest)
), missed as (
    update chatwoot_conversation m set look = true
      from seen s
     where m.account_id = $2 and m.display_id = s.display_id and not m.look and m.lease_until is null
       and (m.last_message < s.newest or m.status <> s.status or m.assignee <> s.assignee)
    returning 1
), failed as (
    update chatwoot_conversation m set look = true
     where m.conversation_id in (select o.conversation_id from outbox o join conversation c on c.id = o.conversation_id
                                  where o.shown = 'failed' and c.channel = $1 and o.created_at > now() - interval '1 hour')
       and not m.look and m.lease_until is null and not exists (select 1 from seen s where s.display_id = m.display_id)
), box as (
    update chatwoot_inbox set swept_at = greatest(swept_at, $7) where channel = $1
)
select count(*) from missed
