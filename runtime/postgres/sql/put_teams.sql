-- $1 tenant, $2 teams, $3 of each member the team, $4 and the human. What is not among them is no team, or no member, any more.
with gone as (
    delete from team where tenant = $1 and name <> all ($2::text[])
), made as (
    insert into team (tenant, name) select $1, name from unnest($2::text[]) t (name) order by name on conflict do nothing
), left_team as (
    delete from team_member m
     where m.tenant = $1 and m.team = any ($2::text[])
       and not exists (select 1 from unnest($3::text[], $4::text[]) x (team, human) where x.team = m.team and x.human = m.human)
)
insert into team_member (tenant, team, human)
select $1, x.team, x.human from unnest($3::text[], $4::text[]) x (team, human) order by x.team, x.human
on conflict do nothing
