-- $1 conversation, $2 no, $3 sha256 of the token
select t.tenant, t.epoch, t.gen, t.deadline, t.cluster, t.state, extract(epoch from t.deadline - clock_timestamp())::float8,
       c.state, c.owner_kind, c.owner_id, c.epoch,
       (select count(*) from inbox i where i.conversation_id = t.conversation_id and i.state = 'pending')
  from turn t join conversation c on c.id = t.conversation_id
 where t.conversation_id = $1 and t.no = $2 and t.token_hash = $3
