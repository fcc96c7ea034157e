package provider

import "github.com/pulumi/pulumi-go-provider/infer"

// FileVolume is a Docker volume whose content is given and never changes: new content is a new volume.
type FileVolume struct{}

// FileVolumeArgs are the inputs of [FileVolume].
type FileVolumeArgs struct {
	// Prefix of the volume's name; the digest of the content follows it.
	Prefix string `pulumi:"prefix"`
	// Files maps a path relative to the volume's root to its content.
	Files map[string]string `pulumi:"files" provider:"secret"`
	// UID and GID own the files; 0 means root.
	UID int `pulumi:"uid,optional"`
	GID int `pulumi:"gid,optional"`
	// Image is any image the engine holds or can pull: its filesystem is what a helper container,
	// never started, is made of, since the engine copies files only through a container.
	Image string `pulumi:"image"`
	// Labels of the volume.
	Labels map[string]string `pulumi:"labels,optional"`
}

// FileVolumeState is what the state holds.
type FileVolumeState struct {
	FileVolumeArgs
	// Name of the volume: Prefix + "-" + Digest.
	Name string `pulumi:"name"`
	// Digest is the first 12 hex digits of SHA-256 over owners, paths and contents.
	Digest string `pulumi:"digest"`
}

// Annotate documents the resource for the schema.
func (v *FileVolume) Annotate(a infer.Annotator) {
	a.Describe(&v, "Configuration and secrets as files in a Docker volume whose name carries a digest of the content.")
}

// Annotate documents the inputs for the schema.
func (v *FileVolumeArgs) Annotate(a infer.Annotator) {
	a.Describe(&v.Prefix, "Prefix of the volume's name; the digest of the content follows it.")
	a.Describe(&v.Files, "Path relative to the volume's root to content.")
	a.Describe(&v.UID, "Owner of the files; 0: root.")
	a.Describe(&v.GID, "Group of the files; 0: root.")
	a.Describe(&v.Image, "An image of the engine, used for a helper container that is never started.")
	a.Describe(&v.Labels, "Labels of the volume.")
}

// Annotate documents the outputs for the schema.
func (v *FileVolumeState) Annotate(a infer.Annotator) {
	a.Describe(&v.Name, "Name of the volume.")
	a.Describe(&v.Digest, "Digest of owners, paths and contents: 12 hex digits.")
}

// WireDependencies says what is secret: the files, and not the volume's name and digest, although they
// are computed from them. They are twelve hex digits of a hash over at least one random value.
func (FileVolume) WireDependencies(f infer.FieldSelector, _ *FileVolumeArgs, state *FileVolumeState) {
	f.OutputField(&state.Files).AlwaysSecret()
	f.OutputField(&state.Name).NeverSecret()
	f.OutputField(&state.Digest).NeverSecret()
}
