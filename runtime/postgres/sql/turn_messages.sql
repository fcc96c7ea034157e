-- $1 conversation, $2 turn no. WhatsApp's time sorts what arrived out of order, arrival decides among equals.
select wa_id, coalesce(wa_ts, received_at), type, text, ref, media, media_state, media_id
  from inbox where conversation_id = $1 and turn_no = $2
 order by coalesce(wa_ts, date_trunc('second', received_at)), seq
