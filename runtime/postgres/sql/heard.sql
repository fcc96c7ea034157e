-- $1 tenant, $2 sources
select source from turn where tenant = $1 and source = any ($2)
