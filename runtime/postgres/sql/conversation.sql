-- A conversation as conversation.Conversation; by_id_locked.sql, by_id.sql and by_filter.sql say which.
select c.id, c.tenant, c.channel, c.chat_jid, c.contact_name, c.state, c.owner_kind, c.owner_id, c.epoch, c.audit_seq,
       c.last_seq, c.debounce_until is not null, c.last_owner_kind, c.last_owner_id, c.last_ai,
       (select flow from channel where name = c.channel), c.given, c.owner_since, c.stretch_from is not null,
       c.handovers, c.handovers_since, c.offer_id, c.offer_kind, c.offer_agent, c.offer_else, c.offer_until,
       c.request_by, c.request_else, c.request_until, c.silence, c.silence_until, c.held_state, c.held_kind, c.held_id,
       c.cluster, case when c.merged_into is not null then merged_target(c.id) end, c.last_hash
  from conversation c
