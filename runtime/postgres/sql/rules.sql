-- $1 tenant, $2 version; empty: the one in force
select s.version, s.body, case when $2 = '' then f.since else s.stored_at end, case when $2 = '' then f.put_by else s.stored_by end
  from rule_set s
  left join rules_in_force f on f.tenant = s.tenant and f.version = s.version
 where s.tenant = $1 and case when $2 = '' then f.version is not null else s.version = $2 end
