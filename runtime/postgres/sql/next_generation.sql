-- $1 system, $2 timeline. The row lock makes the routers that notice take turns: the second finds it done.
update cluster set system_id = $1, timeline = $2, generation = generation + 1, changed_at = now()
 where system_id <> $1 or timeline <> $2
returning generation
