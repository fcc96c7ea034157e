-- $1 letter, $2 who does it, $3 why. Its messages stay dead: they are in the history.
update dead_letter set state = 'dropped', decided_by = $2, decided_at = now(), decision = $3 where id = $1
