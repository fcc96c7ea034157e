-- $1 channel, $2 the lease, $3 up to when nothing is missing, $4 how long the lease lasts on, or until the next sweep. What was found holds
-- whoever has the lease now, so swept_to moves in any case; it does not move while the channel is not connected.
update channel
   set swept_to = case when connection = 'open' then greatest(swept_to, $3) else swept_to end,
       sweep_due = case when sweep_due = $2 then now() + $4::interval else sweep_due end
 where name = $1
returning sweep_due = now() + $4::interval, sweep_due
