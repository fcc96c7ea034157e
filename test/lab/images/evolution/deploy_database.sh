#!/bin/bash
# Sourced at every start, so `exit` ends the container, as it does upstream.

# Upstream generates its database client into node_modules at every start: a read-only root, or a user who
# may not write there, ends the start. So does it here.
if ! : > /evolution/node_modules/.prisma; then
	echo "Prisma generate failed: /evolution/node_modules is not writable" >&2
	exit 1
fi

evolution-stand-in deploy-database || exit 1
