#!/bin/sh
# Waits for PostgreSQL, then becomes the command, as upstream's entrypoint does.
set -e

rm -rf /app/tmp/pids/server.pid /app/tmp/cache/*

# DATABASE_URL, where it is set, names the server: scheme://[user[:password]@]host[:port]/database
if [ -n "${DATABASE_URL:-}" ]; then
	address="${DATABASE_URL#*://}"
	address="${address%%/*}"
	address="${address##*@}"
	POSTGRES_HOST="${address%%:*}"
	case "$address" in
		*:*) POSTGRES_PORT="${address##*:}" ;;
	esac
fi

until nc -z "${POSTGRES_HOST:?set POSTGRES_HOST or DATABASE_URL}" "${POSTGRES_PORT:-5432}"; do
	echo "Waiting for postgres at $POSTGRES_HOST to become ready...."
	sleep 2
done

exec "$@"
