-- $1 every. One replica at a time asks Chatwoot what went unnoticed.
update chatwoot_inbox set sweep_after = now() + $1::interval
 where channel = (select channel from chatwoot_inbox where sweep_after <= now() order by sweep_after limit 1 for update skip locked)
returning channel, tenant, account_id, inbox_id, bot_id, hook_secret, bot_secret, bot_token, user_token, swept_at
