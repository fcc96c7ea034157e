-- $1 tenant, empty: of all.
select name, tenant, flow, mirror, integration, number, connection, connection_reason, connection_at, swept_to
  from channel where $1 in ('', tenant) order by name
