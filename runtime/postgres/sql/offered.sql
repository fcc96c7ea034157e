-- $1 tenant, $2 human
update agent set offered_at = clock_timestamp() where tenant = $1 and kind = 'human' and id = $2
