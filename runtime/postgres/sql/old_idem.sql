-- $1 age. In pieces, so that no transaction is long.
delete from verb_idem
 where ctid in (select ctid from verb_idem where created_at < now() - $1::interval limit 5000)
