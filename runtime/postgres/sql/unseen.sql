-- $1 tenant, $2 channel, $3 kinds, $4 ids
select id from unnest($4::text[]) with ordinality as u (id, n)
 where not exists (select 1 from inbox_key k
                    where k.tenant = $1 and k.channel = $2 and k.wa_id = u.id and k.kind = any ($3::text[]))
 order by n
