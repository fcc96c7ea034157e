-- $1 channel, $2 tenant, $3 account, $4 inbox, $5 bot, $6 hook secret, $7 bot secret, $8 bot token, $9 user token. From then on the
-- channel's conversations are mirrored, also those that had begun: they are looked at once somebody writes.
with d as (
    insert into chatwoot_inbox (channel, tenant, account_id, inbox_id, bot_id, hook_secret, bot_secret, bot_token, user_token)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict (channel) do update
       set account_id = excluded.account_id, inbox_id = excluded.inbox_id, bot_id = excluded.bot_id, hook_secret = excluded.hook_secret,
           bot_secret = excluded.bot_secret, bot_token = excluded.bot_token, user_token = excluded.user_token
), c as (
    update channel set mirror = true, updated_at = now() where name = $1 and not mirror
)
-- What was shown in another account or inbox is not there: it is made anew.
delete from chatwoot_conversation m
 using conversation c, chatwoot_inbox i
 where c.id = m.conversation_id and c.channel = $1 and i.channel = $1 and (i.account_id, i.inbox_id) <> ($3, $4)
