-- $1 conversations, $2 turn numbers, $3 generations (arrays of one length), $4 lease
update turn set lease_until = now() + $4::interval
  from unnest($1::bigint[], $2::int[], $3::int[]) as held (conversation_id, no, gen)
 where turn.conversation_id = held.conversation_id and turn.no = held.no and turn.gen = held.gen
   and turn.state in ('running', 'replied', 'sending')
returning turn.conversation_id, turn.no, turn.gen, turn.state, extract(epoch from turn.deadline - clock_timestamp())::float8
