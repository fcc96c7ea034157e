-- $1 bodies. Fails if one of them is no jsonb, and does nothing else.
select count(body::jsonb) from unnest($1::text[]) body
