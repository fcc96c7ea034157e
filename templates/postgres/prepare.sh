#!/bin/sh
# Brings databases and roles into the state that databases.list names; safe to run again. Each role owns
# its own database and may connect to no other. Passwords are read from files, never from argv.
set -eu
here=/run/plantao
PGPASSFILE=/tmp/pgpass
export PGPASSFILE PGHOST=postgres PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10 PGAPPNAME=prepare
umask 077
printf '*:*:*:postgres:%s\n' "$(cat $here/password-postgres)" > $PGPASSFILE

psql -X -q -v ON_ERROR_STOP=1 -c 'REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC'
while read -r name; do
	[ -n "$name" ] || continue
	psql -X -q -v ON_ERROR_STOP=1 -v name="$name" -f $here/role.sql
	psql -X -q -v ON_ERROR_STOP=1 -v name="$name" -d "$name" -f $here/database.sql
	echo "database $name: ready"
done < $here/databases.list
