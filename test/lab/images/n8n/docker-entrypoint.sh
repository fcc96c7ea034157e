#!/bin/sh
set -e
# As in the official image: own certificate authorities may be mounted here.
if [ -d /opt/custom-certificates ]; then
	export NODE_OPTIONS="--use-openssl-ca ${NODE_OPTIONS:-}"
	export SSL_CERT_DIR=/opt/custom-certificates
	c_rehash /opt/custom-certificates
fi
exec n8n "$@"
