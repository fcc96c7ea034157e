-- $1 tenant, $2 conversation, $3 mimetype, $4 file name, $5 content
insert into media (tenant, conversation_id, mimetype, file_name, content)
select tenant, id, $3, $4, $5 from conversation where id = $2 and tenant = $1
returning id
