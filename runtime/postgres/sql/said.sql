-- $1 tenant, $2 source
select no from turn where tenant = $1 and source = $2
