// Package engine asks a Docker Engine about one stack: what runs, how it fares, what it logs.
//
// It only reads. What belongs to a stack is found by label (plantao.stack, plantao.service), never by
// name. The Engine API version is negotiated; 1.41 (Docker 20.10) is the oldest it is used with.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// OldestAPI is the oldest Engine API version the stack works with: Docker 20.10.
const OldestAPI = "1.41"

// Labels on everything a stack owns.
const (
	LabelStack     = "plantao.stack"
	LabelComponent = "plantao.component"
	LabelService   = "plantao.service"
	LabelURL       = "plantao.url"
)

// UnreachableError says that no engine answered.
type UnreachableError struct {
	// Host is what was asked, as DOCKER_HOST spells it ("unix:///var/run/docker.sock").
	Host string
	// Denied is true when the engine's socket is there but this user may not open it.
	Denied bool
	// Absent is true when there is no socket at that path.
	Absent bool
	Cause  error
}

// Error names the address and what is wrong there, not the request that happened to be made.
func (e *UnreachableError) Error() string {
	switch {
	case e.Denied:
		return fmt.Sprintf("reach Docker at %s: permission denied", e.Host)
	case e.Absent:
		return fmt.Sprintf("reach Docker at %s: there is no socket", e.Host)
	}
	return fmt.Sprintf("reach Docker at %s: %v", e.Host, e.Cause)
}

// Unwrap is the cause.
func (e *UnreachableError) Unwrap() error { return e.Cause }

// Engine is one Docker Engine. It is safe for concurrent use; Close it where it was opened.
type Engine struct{ api *client.Client }

// Open prepares the engine that the docker command would use: DOCKER_HOST, DOCKER_API_VERSION,
// DOCKER_CERT_PATH and DOCKER_TLS_VERIFY, else the local socket. Nothing is dialled yet.
func Open() (*Engine, error) {
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("read DOCKER_HOST and its companions: %w", err)
	}
	return &Engine{api: api}, nil
}

// Close releases the engine's idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Host is the address asked, as DOCKER_HOST spells it.
func (e *Engine) Host() string { return e.api.DaemonHost() }

// Local reports whether the engine runs on this machine, so that its ports and disk are ours.
func (e *Engine) Local() bool { return strings.HasPrefix(e.Host(), "unix://") }

// Info is what the engine says about itself and its machine.
type Info struct {
	// Version is the engine's release ("28.5.2"), API the newest API version it speaks ("1.51").
	Version, API string
	// StorageDriver keeps the images ("overlay2"); CgroupVersion is "1" or "2".
	StorageDriver, CgroupVersion, CgroupDriver string
	// DataRoot is the folder on the engine's machine where images and volumes are.
	DataRoot string
	CPUs     int
	// MemoryBytes is the machine's memory.
	MemoryBytes int64
	// Time is the clock of the engine's machine; zero when it did not say.
	Time time.Time
}

// Info asks the engine about itself. An [UnreachableError] says that none answered.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	ping, err := e.api.Ping(ctx)
	if err != nil {
		return Info{}, e.wrap("ask Docker whether it is there", err)
	}
	got, err := e.api.Info(ctx)
	if err != nil {
		return Info{}, e.wrap("ask Docker about itself", err)
	}
	at, _ := time.Parse(time.RFC3339Nano, got.SystemTime)
	return Info{
		Version: got.ServerVersion, API: ping.APIVersion,
		StorageDriver: got.Driver, CgroupVersion: got.CgroupVersion, CgroupDriver: got.CgroupDriver,
		DataRoot: got.DockerRootDir, CPUs: got.NCPU, MemoryBytes: got.MemTotal, Time: at,
	}, nil
}

// HasImage reports whether the engine holds the image, named as "repository:tag".
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	_, err := e.api.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, e.wrap(fmt.Sprintf("look for image %q", ref), err)
	}
	return true, nil
}

// wrap names what was being done, and turns a failed dial into an UnreachableError.
func (e *Engine) wrap(doing string, err error) error {
	if !client.IsErrConnectionFailed(err) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	unreachable := &UnreachableError{Host: e.Host(), Denied: errors.Is(err, fs.ErrPermission), Cause: err}
	// The client drops the system error of a failed dial, so the socket itself is looked at.
	if path, local := strings.CutPrefix(e.Host(), "unix://"); local {
		_, missing := os.Stat(path)
		unreachable.Absent = errors.Is(missing, fs.ErrNotExist)
	}
	return unreachable
}
