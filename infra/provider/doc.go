// Package provider holds Plantão's own Pulumi resources: what the Docker provider cannot do.
//
//   - [Secret]: random bytes from crypto/rand, born and kept secret in the stack's state.
//   - [FileVolume]: configuration and secrets as files in an immutable Docker volume.
//   - [Job]: a container that runs to its end, such as a migration.
//
// One file per resource says what it is (x.go) and one what happens (x_ops.go).
//
// # Rules all of them keep
//
// Preview dials nothing. Create may run twice: a first run that died half-way leaves nothing that
// stops the second. Read answers an empty ID when the thing is gone. Delete of a missing thing
// succeeds. No secret reaches a log line or an error text: output of containers is shown with the
// values of their secrets removed.
//
// # Why files in a volume and not environment variables
//
// `docker inspect` shows a container's environment to everyone who may speak to the engine, labels
// and argv likewise. A volume's content is shown by neither, reaches a remote engine over the same
// connection as everything else, and can be mounted read-only into a container with a read-only root,
// which the engine's own "upload into the container" cannot.
//
// # Why the volume's name carries a digest of its content
//
// The engine cannot tell a container that a file in a volume changed. With the digest in the name,
// new content is a new volume, the container that mounts it is replaced, and the old volume goes
// after it: exactly the order the engine of Pulumi gives to a replacement.
package provider
