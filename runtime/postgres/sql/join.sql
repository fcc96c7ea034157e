-- $1 the conversation that goes, $2 the one that stays, both locked and written. Whoever looks for the contact finds the second.
with gone as (
    update conversation set merged_into = $2 where id = $1 and merged_into is null
    returning contact_name
), named as (
    update conversation c set contact_name = gone.contact_name
      from gone
     where c.id = $2 and c.contact_name = ''
)
update alias set conversation_id = $2 where conversation_id = $1
