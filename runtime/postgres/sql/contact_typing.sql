-- The contact was seen typing, or has stopped. $1 tenant, $2 channel, $3 jid, $4 another form of it, $5 for how long it is believed,
-- zero: they stopped, $6 quiet. Only a window that is open is moved, and never beyond its cap.
update conversation c
   set debounce_until = case when $5::interval > interval '0' then least(greatest(c.debounce_until, now() + $5::interval), c.debounce_cap)
                             else least(c.debounce_until, now() + $6::interval) end
  from alias a
 where a.tenant = $1 and a.channel = $2 and a.jid in ($3, $4) and a.jid <> '' and c.id = a.conversation_id and c.debounce_until is not null
