-- $1 within
select count(*) from router_process where seen_at > now() - $1::interval
