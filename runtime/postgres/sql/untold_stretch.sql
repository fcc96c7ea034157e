-- $1 conversation, $2 turn no, $3 epoch. The last time humans had it, unless a turn that was answered has been told of it: the epochs
-- of turns only grow.
select s.agent, s.from_seq, s.to_seq, s.began_at, s.ended_at
  from human_stretch s
 where s.conversation_id = $1 and s.epoch <= $3
   and s.epoch > coalesce((select p.epoch from turn p
                            where p.conversation_id = $1 and p.no < $2 and p.kind = 'ai' and p.state = 'done'
                            order by p.no desc limit 1), -1)
 order by s.no desc
 limit 1
