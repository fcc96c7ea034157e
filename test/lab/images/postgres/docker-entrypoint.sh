#!/usr/bin/env bash
# Starts PostgreSQL; on an empty data directory makes the cluster first. Same variables and order as the
# upstream image: POSTGRES_USER, POSTGRES_PASSWORD(_FILE), POSTGRES_DB, POSTGRES_INITDB_ARGS,
# POSTGRES_HOST_AUTH_METHOD, PGDATA, /docker-entrypoint-initdb.d.
set -Eeuo pipefail

# file_env NAME [DEFAULT] sets NAME from NAME, the file NAME_FILE, or DEFAULT.
file_env() {
	local name="$1" file="${1}_FILE" value="${2:-}"
	if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
		echo >&2 "error: $name and $file are both set; keep one"
		exit 1
	fi
	if [ -n "${!name:-}" ]; then
		value="${!name}"
	elif [ -n "${!file:-}" ]; then
		value="$(< "${!file}")"
	fi
	export "$name"="$value"
	unset "$file"
}

read_settings() {
	file_env POSTGRES_PASSWORD
	file_env POSTGRES_USER postgres
	file_env POSTGRES_DB "$POSTGRES_USER"
	file_env POSTGRES_INITDB_ARGS
	: "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
		echo >&2 "error: the data directory is empty and no superuser password is given;"
		echo >&2 "       set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD) to a non-empty value"
		exit 1
	fi
}

# The directory must belong to the user the server runs as, and to nobody else.
own_directories() {
	mkdir -p "$PGDATA"
	chmod 00700 "$PGDATA" || :
	mkdir -p /var/run/postgresql || :
	chmod 03775 /var/run/postgresql || :
	if [ "$(id -u)" = 0 ]; then
		find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
		find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
	fi
}

make_cluster() {
	local -a extra=()
	# Word splitting is wanted: the variable holds several arguments.
	read -ra extra <<< "$POSTGRES_INITDB_ARGS"
	# Through a descriptor, so that the password is neither in argv nor on disk.
	initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${extra[@]}"
	printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"
}

# The temporary server listens on the socket only: nobody else sees a half-made database.
start_temporary() {
	if [ "${1:-}" = postgres ]; then shift; fi
	PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -w start \
		-o "$(printf '%q ' "$@" -c listen_addresses='' -p "${PGPORT:-5432}")"
}

stop_temporary() {
	PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -m fast -w stop
}

run_sql() {
	PGPASSWORD="$POSTGRES_PASSWORD" psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"
}

make_database() {
	[ "$POSTGRES_DB" != postgres ] || return 0
	run_sql --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
}

run_init_files() {
	local f
	for f in /docker-entrypoint-initdb.d/*; do
		case "$f" in
			*.sh)
				echo "running $f"
				# Executable: a program; else sourced, and may use this script's functions.
				if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
			*.sql) echo "running $f"; run_sql --dbname "$POSTGRES_DB" -f "$f" ;;
			*.sql.gz) echo "running $f"; gunzip -c "$f" | run_sql --dbname "$POSTGRES_DB" ;;
			*/\*) ;;
			*) echo "ignoring $f" ;;
		esac
	done
}

if [ "${1:0:1}" = - ]; then
	set -- postgres "$@"
fi

if [ "${1:-}" = postgres ]; then
	own_directories
	if [ "$(id -u)" = 0 ]; then
		exec setpriv --reuid=postgres --regid=postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
	fi
	if [ -s "$PGDATA/PG_VERSION" ]; then
		echo "PostgreSQL data directory is there already: nothing to initialise"
	else
		read_settings
		make_cluster
		start_temporary "$@"
		make_database
		run_init_files
		stop_temporary
		unset POSTGRES_PASSWORD
		echo "PostgreSQL is initialised: starting"
	fi
fi

exec "$@"
