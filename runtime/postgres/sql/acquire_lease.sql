-- $1 tenant, $2 conversation, $3 fence, $4 token, $5 ttl. Free, run out, our own, or of an earlier owner: ours.
insert into lock_lease (tenant, conversation_id, fence, token, until) values ($1, $2, $3, $4, now() + $5::interval)
on conflict (tenant, conversation_id) do update set fence = excluded.fence, token = excluded.token, until = excluded.until
 where lock_lease.until <= now() or lock_lease.fence < excluded.fence
    or lock_lease.fence = excluded.fence and lock_lease.token = excluded.token
returning 1
