// Package contract checks that lab images keep the promises of the upstream images that the stack's
// components rely on: one component definition runs both. Its tests need a Docker Engine (`make e2e`).
package contract
