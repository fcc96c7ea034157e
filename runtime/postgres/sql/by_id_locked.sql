-- $1 conversation, $2 tenant. The row lock is what makes a change of owner and everything that depends on the owner take
-- turns. "No key" spares those who only insert a row that refers to this one.
 where c.id = $1 and c.tenant = $2
   for no key update of c
