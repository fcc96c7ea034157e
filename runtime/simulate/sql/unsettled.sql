-- What should not be there when everything has run out.
select conversation_id, format('turn %s is %s', no, state) from turn where state in ('running', 'replied', 'sending', 'ambiguous')
union all
select conversation_id, format('part %s of turn %s is %s', part, no, state) from outbox where state in ('queued', 'sending', 'ambiguous')
union all
select i.conversation_id, format('message %s is %s in state %s', i.seq, i.state, c.state)
  from inbox i join conversation c on c.id = i.conversation_id
 where i.state in ('pending', 'taken')
union all
select id, format('it is %s', state) from conversation where state = 'OFFERED'
 order by 1, 2
 limit 20
