package provider

import "github.com/pulumi/pulumi-go-provider/infer"

// Job is a container that runs to its end: a migration, a preparation, the wiring. It runs when it is
// created and whenever one of its inputs changes; nothing of it stays but the state's note.
type Job struct{}

// JobArgs are the inputs of [Job].
type JobArgs struct {
	// Name of the container while it runs.
	Name string `pulumi:"name"`
	// Image reference.
	Image string `pulumi:"image"`
	// Entrypoint and Command as Docker has them; empty means the image's own.
	Entrypoint []string `pulumi:"entrypoint,optional"`
	Command    []string `pulumi:"command,optional"`
	// Env are plain variables; secrets belong into a [FileVolume].
	Env map[string]string `pulumi:"env,optional"`
	// User is "uid:gid"; empty means the image's own.
	User string `pulumi:"user,optional"`
	// Networks the container joins, by name.
	Networks []string `pulumi:"networks,optional"`
	// Volumes maps a volume's name to where it is mounted; a path ending in ":ro" is mounted read-only.
	Volumes map[string]string `pulumi:"volumes,optional"`
	// MemoryMB limits memory; 0 means 512.
	MemoryMB int `pulumi:"memoryMb,optional"`
	// TimeoutSeconds ends a job that hangs; 0 means 600.
	TimeoutSeconds int `pulumi:"timeoutSeconds,optional"`
	// ReadOnly makes the root file system read-only, with a tmpfs on /tmp.
	ReadOnly bool `pulumi:"readOnly,optional"`
	// Labels of the container.
	Labels map[string]string `pulumi:"labels,optional"`
	// Triggers are values whose change runs the job again.
	Triggers map[string]string `pulumi:"triggers,optional"`
}

// JobState is what the state holds.
type JobState struct {
	JobArgs
	// FinishedAt is when the last run ended well, RFC 3339.
	FinishedAt string `pulumi:"finishedAt"`
}

// Annotate documents the resource for the schema.
func (j *Job) Annotate(a infer.Annotator) {
	a.Describe(&j, "A container that runs to its end when created and when an input changes.")
}

// Annotate documents the inputs for the schema.
func (j *JobArgs) Annotate(a infer.Annotator) {
	a.Describe(&j.Name, "Name of the container while it runs.")
	a.Describe(&j.Image, "Image reference.")
	a.Describe(&j.Entrypoint, "Entrypoint; empty: the image's own.")
	a.Describe(&j.Command, "Command; empty: the image's own.")
	a.Describe(&j.Env, "Plain variables; secrets belong into a FileVolume.")
	a.Describe(&j.User, "uid:gid; empty: the image's own.")
	a.Describe(&j.Networks, "Networks to join, by name.")
	a.Describe(&j.Volumes, "Volume name to mount point; a mount point ending in :ro is read-only.")
	a.Describe(&j.MemoryMB, "Memory limit in MiB; 0: 512.")
	a.Describe(&j.TimeoutSeconds, "Seconds after which a hanging job is ended; 0: 600.")
	a.Describe(&j.ReadOnly, "Read-only root file system with a tmpfs on /tmp.")
	a.Describe(&j.Labels, "Labels of the container.")
	a.Describe(&j.Triggers, "Values whose change runs the job again.")
}

// Annotate documents the outputs for the schema.
func (j *JobState) Annotate(a infer.Annotator) {
	a.Describe(&j.FinishedAt, "When the last run ended well, RFC 3339.")
}
