-- $1 limit, $2 lease. Moving media_after on keeps two replicas from fetching the same, and gives a killed one's to the other.
with due as (
    select id from inbox
     where media_state = 'wanted' and media_after <= now() and conversation_id is not null
     order by media_after
     limit $1
       for update skip locked
)
update inbox i
   set media_tries = i.media_tries + 1, media_after = now() + $2::interval
  from due
 where i.id = due.id
returning i.id, i.tenant, i.channel, i.conversation_id, i.wa_id, i.media, i.media_tries
