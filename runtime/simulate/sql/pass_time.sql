-- $1 what passes. Everything that ends at a time ends so much sooner. What is only a record of when something happened stays:
-- the audit and the intents are compared with each other.
with conversations as (
    update conversation
       set debounce_until = debounce_until - $1::interval, debounce_cap = debounce_cap - $1::interval,
           offer_until = offer_until - $1::interval, request_until = request_until - $1::interval,
           silence_until = silence_until - $1::interval, handovers_since = handovers_since - $1::interval
     where num_nonnulls(debounce_until, debounce_cap, offer_until, request_until, silence_until, handovers_since) > 0
), turns as (
    update turn set lease_until = lease_until - $1::interval, deadline = deadline - $1::interval, created_at = created_at - $1::interval
     where state in ('running', 'replied', 'sending', 'ambiguous')
)
update outbox set check_after = check_after - $1::interval where state = 'ambiguous'
