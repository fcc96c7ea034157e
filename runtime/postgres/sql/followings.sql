-- $1 limit. What agents wanted done after turns that are over. Index turn_follow.
select tenant, conversation_id, no, epoch, gen, deadline, cluster, agent, follow
  from turn
 where follow is not null and kind = 'ai' and state = 'done'
 order by conversation_id, no
 limit $1
