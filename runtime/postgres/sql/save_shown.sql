-- $1 conversation, $2 gen, $3 lease, $4 contact, $5 source id, $6 display id, $7 status, $8 assignee, $9 next status, $10 next assignee,
-- $11 accepted, $12 last message, $13 noted, $14 posting,
-- $15 labels. Only by who has it in hand.
update chatwoot_conversation
   set lease_until = now() + $3::interval, contact_id = nullif($4::bigint, 0), source_id = nullif($5, ''), display_id = nullif($6::bigint, 0),
       status = $7, assignee = $8, next_status = $9, next_assignee = $10, accepted = $11, last_message = $12, noted = $13,
       posting_at = case when $14 = '' then null when posting = $14 then posting_at else now() end,
       posting = nullif($14, ''), labels = $15
 where conversation_id = $1 and gen = $2
