-- $1 tenant, $2 flow, $3 what becomes of messages in mid-turn, $4 what the customer is told when it did not answer. One row if something was
-- written; nothing else of the agent is touched.
insert into agent (tenant, kind, id, mid_turn, holding) values ($1, 'ai', $2, $3, $4)
on conflict (tenant, kind, id) do update set mid_turn = excluded.mid_turn, holding = excluded.holding, updated_at = now()
 where (agent.mid_turn, agent.holding) is distinct from (excluded.mid_turn, excluded.holding)
returning (xmax = 0) as created
