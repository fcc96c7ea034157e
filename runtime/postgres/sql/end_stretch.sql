-- $1 conversation, $2 last message the stretch covers (0: all), $3 who had it at the end, $4 now, $5 the epoch that begins. The
-- conversation is locked. What a human has read is nobody else's to answer. That can be older than the stretch: the messages of
-- a turn whose part was found, meanwhile, not to have been sent.
with c as (
    select id, tenant, stretch_from, stretch_began, case when $2::bigint = 0 then last_seq else least($2, last_seq) end as through
      from conversation where id = $1
), read as (
    update inbox set state = 'human', reason = 'human_stretch', turn_no = null
      from c where conversation_id = $1 and state = 'pending' and seq <= c.through
)
insert into human_stretch (conversation_id, no, tenant, agent, from_seq, to_seq, began_at, ended_at, epoch)
select c.id, 1 + coalesce((select max(no) from human_stretch where conversation_id = $1), 0), c.tenant, $3,
       least(c.stretch_from, (select min(seq) from inbox where conversation_id = $1 and state = 'pending' and seq <= c.through)),
       c.through, c.stretch_began, $4, $5
  from c
