-- $1 inbox row, $2 try, $3 the largest content in bytes. The content of an attachment that stands in the webhook itself never leaves the
-- database. No row: it is not there, is too large, or the lease is lost.
insert into media (tenant, conversation_id, mimetype, file_name, content)
select i.tenant, i.conversation_id, coalesce(i.media ->> 'mimetype', ''), coalesce(i.media ->> 'file_name', ''),
       decode(i.body #>> '{data,message,base64}', 'base64')
  from inbox i
 where i.id = $1 and i.media_state = 'wanted' and i.media_tries = $2 and i.conversation_id is not null
   and length(i.body #>> '{data,message,base64}') between 4 and ($3::bigint + 2) / 3 * 4
returning id
