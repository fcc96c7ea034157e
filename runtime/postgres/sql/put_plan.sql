-- $1 conversation, $2 tenant, $3 epoch, $4 plan, $5 how soon to look at it (null: not before something happens)
insert into plan (conversation_id, tenant, epoch, body, due_at) values ($1, $2, $3, $4::text::jsonb, clock_timestamp() + $5::interval)
on conflict (conversation_id) do update set epoch = excluded.epoch, body = excluded.body, due_at = excluded.due_at
