-- Everything a verb always writes, as one statement: the conversation's row, the audit entry of its last step, and the answer
-- its key is given. $1 conversation, $2 state, $3 owner kind, $4 owner id, $5 epoch, $6 audit seq, $7 last hash,
-- $8 last owner kind, $9 last owner id, $10 last AI, $11 given, $12 owner since, $13 handovers, $14 handovers since, $15 to
-- $19 the offer: id, kind, agent, else, until, $20 to $22 the request: by, else, until, $23 silence, $24 silence until, $25 to
-- $27 what is held: state, kind, id, $28 cluster, $29 a human stretch begins, $30 it ends, $31 what waits may have changed,
-- $32 tenant, $33 at, $34 actor, $35 verb (null: no step, no entry), $36 state from, $37 epoch from, $38 reason,
-- $39 rule version, $40 detail, $41 previous hash, $42 key (null: it is not remembered), $43 sha256 of the request, $44 response
with moved as (
    update conversation
       set state = $2, owner_kind = $3, owner_id = $4, epoch = $5, version = $6, audit_seq = $6, last_hash = $7,
           last_owner_kind = $8, last_owner_id = $9, last_ai = $10, given = $11, owner_since = $12,
           handovers = $13, handovers_since = $14,
           offer_id = $15, offer_kind = $16, offer_agent = $17, offer_else = $18, offer_until = $19,
           request_by = $20, request_else = $21, request_until = $22, silence = $23, silence_until = $24,
           held_state = $25, held_kind = $26, held_id = $27, cluster = $28,
           stretch_from = case when $29 then coalesce((select min(seq) from inbox where conversation_id = $1 and state = 'pending'),
                                                      last_seq + 1)
                               when $30 then null else stretch_from end,
           stretch_began = case when $29 then $12 when $30 then null else stretch_began end,
           debounce_until = case when not $31 then debounce_until
                                 when exists (select 1 from inbox where conversation_id = $1 and state = 'pending')
                                 then coalesce(debounce_until, now()) end,
           debounce_cap = case when not $31 then debounce_cap
                               when exists (select 1 from inbox where conversation_id = $1 and state = 'pending')
                               then coalesce(debounce_cap, now()) end,
           mirror_due = case when mirror then now() else mirror_due end,
           updated_at = now()
     where id = $1
), entry as (
    insert into audit (conversation_id, seq, tenant, at, actor, verb, state_from, state_to, epoch_from, epoch_to, reason,
                       rule_version, detail, prev, hash)
    select $1, $6, $32, $33, $34, $35::text, $36, $2, $37, $5, $38, $39, $40::jsonb, $41::bytea, $7 where $35 is not null
)
insert into verb_idem (tenant, key, request_sha256, conversation_id, seq, response)
select $32, $42::text, $43::bytea, $1, $6, $44 where $42 is not null
