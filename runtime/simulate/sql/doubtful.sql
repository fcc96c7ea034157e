-- Conversations with a part of unknown fate, as a console shows them.
select distinct conversation_id from outbox where state = 'ambiguous' order by conversation_id
