-- I-TEN. A channel is a tenant's, so a row of another channel would be as bad.
, bad as (
    select i.conversation_id as conversation, format('inbox row %s is of %s/%s', i.id, i.tenant, i.channel) as what
      from inbox i join conversation c on c.id = i.conversation_id
     where i.id >= $2 and i.received_at >= $1 and (i.tenant, i.channel) <> (c.tenant, c.channel)
    union all
    select c.id, format('an alias is of %s/%s', a.tenant, a.channel)
      from scope c join alias a on a.conversation_id = c.id
     where (a.tenant, a.channel) <> (c.tenant, c.channel)
    union all
    select c.id, format('part %s of turn %s is of %s/%s', o.part, o.no, o.tenant, o.channel)
      from scope c join outbox o on o.conversation_id = c.id
     where (o.tenant, o.channel) <> (c.tenant, c.channel)
    union all
    select c.id, format('turn %s is of %s', t.no, t.tenant)
      from scope c join turn t on t.conversation_id = c.id where t.tenant <> c.tenant
    union all
    select c.id, format('audit entry %s is of %s', a.seq, a.tenant)
      from scope c join audit a on a.conversation_id = c.id where a.tenant <> c.tenant
    union all
    select c.id, format('the dead letter of turn %s is of %s', d.turn_no, d.tenant)
      from scope c join dead_letter d on d.conversation_id = c.id where d.tenant <> c.tenant
    union all
    select c.id, format('human stretch %s is of %s', s.no, s.tenant)
      from scope c join human_stretch s on s.conversation_id = c.id where s.tenant <> c.tenant
    union all
    select c.id, format('the context of handover %s is of %s', h.seq, h.tenant)
      from scope c join handover h on h.conversation_id = c.id where h.tenant <> c.tenant
    union all
    select c.id, format('a remembered answer is of %s', v.tenant)
      from scope c join verb_idem v on v.conversation_id = c.id where v.tenant <> c.tenant
    union all
    select c.id, format('promise %s is of %s', p.id, p.tenant)
      from scope c join promise p on p.conversation_id = c.id where p.tenant <> c.tenant
    union all
    select c.id, format('a lease is of %s', l.tenant)
      from scope c join lock_lease l on l.conversation_id = c.id where l.tenant <> c.tenant
    union all
    select c.id, format('it was merged into %s, which is of %s/%s', other.id, other.tenant, other.channel)
      from scope c join conversation other on other.id = c.merged_into
     where (other.tenant, other.channel) <> (c.tenant, c.channel)
    union all
    select c.id, format('channel %s is of %s, the conversation of %s', ch.name, ch.tenant, c.tenant)
      from scope c join channel ch on ch.name = c.channel where ch.tenant <> c.tenant
)
