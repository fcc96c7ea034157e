-- +goose Up
alter table agent add column email text not null default '';
create table team (tenant text not null, name text not null, primary key (tenant, name));
create table team_member (tenant text not null, team text not null, human text not null, primary key (tenant, team, human),
    foreign key (tenant, team) references team (tenant, name) on delete cascade);
create index team_member_human on team_member (tenant, human);
-- +goose Down
drop table team_member, team;
alter table agent drop column email;
