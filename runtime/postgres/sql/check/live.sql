-- I-LIVE. Not narrowed: what is stranded is not updated. Each part has a partial index of what is open.
, bad as (
    select c.id as conversation, format('messages wait since %s for a turn of ai:%s', c.debounce_until, c.owner_id) as what
      from conversation c
     where c.owner_kind = 'ai' and c.debounce_until < now() - $3::interval
       and exists (select 1 from inbox i where i.conversation_id = c.id and i.state = 'pending')
       and not exists (select 1 from turn t
                        where t.conversation_id = c.id and t.kind = 'ai' and t.state in ('running', 'replied', 'sending', 'ambiguous'))
    union all
    select c.id, format('messages wait since %s for an owner', c.debounce_until)
      from conversation c
     where c.owner_kind = 'none' and c.state <> 'SUSPENDED' and c.debounce_until < now() - $3::interval
       and exists (select 1 from inbox i where i.conversation_id = c.id and i.state = 'pending')
    union all
    select distinct c.id, 'messages wait, and no time is set for their turn'
      from inbox i join conversation c on c.id = i.conversation_id
     where i.state = 'pending' and c.debounce_until is null
    union all
    select conversation_id, format('nobody said whether the %s of SLA %s, due at %s, was met', kind, name, due)
      from promise
     where state = 'open' and due < now() - $3::interval
    union all
    select conversation_id, format('turn %s is %s, its lease ended at %s and its deadline at %s', no, state, lease_until, deadline)
      from turn
     where state in ('running', 'replied', 'sending') and least(lease_until, deadline) < now() - $3::interval
    union all
    select id, format('nothing was done about an offer, a request or a silence that ended at %s',
                      least(offer_until, request_until, silence_until))
      from conversation
     where least(offer_until, request_until, silence_until) < now() - $3::interval
    union all
    select p.conversation_id, format('nothing was done about the plan that was due at %s', p.due_at)
      from plan p join conversation c on c.id = p.conversation_id and c.epoch = p.epoch
     where p.due_at < now() - $3::interval
)
