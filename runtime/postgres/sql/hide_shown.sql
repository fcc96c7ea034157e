-- $1 conversation. What turned out to be an echo of ours, or was never said, is not shown.
with i as (
    update inbox set mirror = 'no' where conversation_id = $1 and mirror = 'wanted' and reason = 'own_echo'
)
update outbox o set mirror = 'no'
  from turn t
 where o.conversation_id = $1 and o.mirror = 'wanted' and o.state = 'dropped'
   and t.conversation_id = o.conversation_id and t.no = o.no and t.kind <> 'human'
