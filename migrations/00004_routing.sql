-- +goose Up

-- Every text of rules that was ever in force, so that each decision can be explained by the one that made it. Rows never change.
create table rule_set (
    tenant    text        not null,
    version   text        not null check (version <> ''),
    body      text        not null check (octet_length(body) <= 1048576),
    stored_at timestamptz not null default now(),
    stored_by text        not null,
    primary key (tenant, version)
);

-- Which of them is.
create table rules_in_force (
    tenant  text        primary key,
    version text        not null,
    since   timestamptz not null default now(),
    put_by  text        not null,
    foreign key (tenant, version) references rule_set (tenant, version)
);

-- +goose Down
drop table rules_in_force, rule_set;
