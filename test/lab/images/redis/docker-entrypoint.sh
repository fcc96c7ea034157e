#!/bin/sh
# Starts Redis as the user redis; a first argument that is an option or a .conf file is the server's.
set -e

case "${1:-}" in
	-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
	find . \! -user redis -exec chown redis '{}' +
	exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
fi

# Files Redis makes hold the stack's data: for its user only, unless the caller chose another mask.
if [ "$(umask)" = 0022 ]; then
	umask 0077
fi

exec "$@"
