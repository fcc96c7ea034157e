-- $1 conversation, $2 no. What the agent wants said when it did not answer; empty where it did, or wants nothing said. And what makes it
-- said once: the last turn that was answered.
select coalesce((select a.holding
                   from turn t join agent a on a.tenant = t.tenant and a.kind = 'ai' and a.id = t.agent
                  where t.conversation_id = $1 and t.no = $2 and t.kind = 'ai'
                    and not exists (select 1 from outbox o where o.conversation_id = $1 and o.no = $2)), ''),
       coalesce((select p.no from turn p
                  where p.conversation_id = $1 and p.no < $2 and p.kind = 'ai' and p.state = 'done'
                  order by p.no desc limit 1), 0)
