-- Parts that the router holds for not having reached the customer.
select conversation_id, no, part, state from outbox where state in ('queued', 'failed', 'dropped')
