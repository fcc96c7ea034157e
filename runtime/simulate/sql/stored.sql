select channel, kind, wa_id, state, coalesce(conversation_id, 0) from inbox
