-- +goose Up

-- The decisions of a time, in the order they were made: see decisions.sql. A claim is one entry of several, so that the others
-- cost nothing.
create index audit_claim on audit (tenant, at, conversation_id, seq) where verb = 'claim';

-- +goose Down
drop index audit_claim;
