-- $1 channel
select channel, tenant, account_id, inbox_id, bot_id, hook_secret, bot_secret, bot_token, user_token from chatwoot_inbox where channel = $1
