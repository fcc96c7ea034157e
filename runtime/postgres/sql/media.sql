-- $1 tenant, $2 id
select mimetype, file_name, content, conversation_id from media where tenant = $1 and id = $2
