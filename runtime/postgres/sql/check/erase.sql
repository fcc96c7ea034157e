-- I-ERASE. What came after the erasure is a new conversation with the customer.
, erased as (
    select c.id, max(a.seq) as seq, max(a.at) as at, max(c.contact_name) as contact_name
      from scope c join audit a on a.conversation_id = c.id
     where a.verb = 'erase'
     group by c.id
), bad as (
    select e.id as conversation, format('inbox row %s still has its text or its body', i.id) as what
      from erased e join inbox i on i.conversation_id = e.id
     where i.received_at <= e.at and (i.text <> '' or i.body <> '{}')
    union all
    select e.id, format('part %s of turn %s still has its text', o.part, o.no)
      from erased e join outbox o on o.conversation_id = e.id
     where o.created_at <= e.at and o.body ->> 'text' <> ''
    union all
    select e.id, format('the context of handover %s is still there', h.seq)
      from erased e join handover h on h.conversation_id = e.id
     where h.seq <= e.seq and h.context <> '{}'
    union all
    select e.id, 'the remembered answer of a key still has the contact''s name'
      from erased e join verb_idem v on v.conversation_id = e.id
     where v.created_at <= e.at and v.response::jsonb #>> '{Contact,Name}' <> ''
    union all
    select e.id, 'the contact still has a name'
      from erased e
     where e.contact_name <> ''
       and not exists (select 1 from inbox i where i.conversation_id = e.id and i.received_at > e.at)
)
