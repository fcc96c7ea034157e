// Package component holds the services of a stack, one file each: what runs, with which image, files,
// networks and limits.
//
// [Base] is what all of them share: the stack's name, images, networks. Every container is made by
// [Base.Run] from a [Service], so that hardening, limits, log rotation and health checks cannot be
// forgotten in one place.
//
// # Trust zones
//
//	edge  ingress and what it may reach: UIs and the router
//	app   the services among themselves, with a way out (WhatsApp, LLMs, mail)
//	data  PostgreSQL and Redis and their clients; no way out
//	code  n8n and its task runner, which executes code that flows bring along
//
// # Secrets
//
// They are born in the state ([plantao.Secret]), reach a container as files of a read-only volume
// mounted at [FilesAt], and stand in no environment, argv or label. Chatwoot and Evolution read only
// their environment: a shell sources an env file and execs them.
package component
