-- $1 conversation, $2 how long a message on the channel's own side may be an echo
select exists (select 1 from inbox
                where conversation_id = $1 and mirror = 'wanted' and from_me and reason = 'from_me'
                  and received_at > now() - $2::interval)
