// Package engine is the lab's use of the Docker Engine: look, import, build, ask a registry, remove.
// It speaks to engines from 20.10 (API 1.41) on and uses the classic builder, which all of them have.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// Label marks every image the lab made.
const Label = "plantao.lab"

const callTimeout = 20 * time.Second

// ErrUnavailable means no Docker Engine answers.
var ErrUnavailable = errors.New("no Docker Engine answers")

// Engine is a connection to one Docker Engine. Safe for concurrent use.
type Engine struct {
	api *client.Client
	// Arch is the engine's processor as Go spells it ("amd64").
	Arch string
	// dataRoot is the engine's folder when it is on this machine, else empty.
	dataRoot string
}

// Open connects to the engine named by DOCKER_HOST (the local one when unset). The error wraps
// [ErrUnavailable] and says what to do.
func Open(ctx context.Context) (*Engine, error) {
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("read Docker's settings (DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH): %w", err)
	}
	e := &Engine{api: api}
	if err := e.ask(ctx); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Close ends the connection.
func (e *Engine) Close() {
	// Only idle connections are closed: nothing can be lost.
	_ = e.api.Close()
}

func (e *Engine) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	version, err := e.api.ServerVersion(ctx)
	if err != nil {
		return e.unavailable(err)
	}
	if version.Os != "linux" {
		return fmt.Errorf("the Docker Engine runs %s containers; the lab needs Linux containers: switch Docker Desktop to Linux containers", version.Os)
	}
	e.Arch = version.Arch
	if strings.HasPrefix(e.api.DaemonHost(), "unix://") {
		if info, err := e.api.Info(ctx); err == nil {
			// Behind a virtual machine the folder is not on this machine; then nothing is known about its disk.
			if _, err := os.Stat(info.DockerRootDir); err == nil {
				e.dataRoot = info.DockerRootDir
			}
		}
	}
	return nil
}

func (e *Engine) unavailable(cause error) error {
	host := e.api.DaemonHost()
	advice := "start Docker (`systemctl start docker`), or run `make setup`, which installs and starts it on Debian and Ubuntu as root"
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 && syscall.Access(path, 2) != nil {
			advice = "this user may not use Docker: run as root, or `sudo usermod -aG docker $USER` and log in again"
		}
	}
	if os.Getenv("DOCKER_HOST") != "" {
		advice = "DOCKER_HOST is set to this address: start that engine, or unset DOCKER_HOST to use the local one"
	}
	return fmt.Errorf("%w at %s: %s (%w)", ErrUnavailable, host, advice, cause)
}

// Held is an image the engine holds.
type Held struct {
	// ID is the content's id; it stays when the name moves to another image.
	ID string
	// Size is in bytes, bases included.
	Size int64
}

// Find returns the image ref, or nil when the engine does not hold it.
func (e *Engine) Find(ctx context.Context, ref string) (*Held, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := e.api.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for image %s: %w", ref, err)
	}
	return &Held{ID: found.ID, Size: found.Size}, nil
}

// CheckDisk fails when the engine's folder has less than needMiB free. An engine elsewhere is not checked.
func (e *Engine) CheckDisk(needMiB int) error {
	if e.dataRoot == "" {
		return nil
	}
	return CheckDisk(e.dataRoot, needMiB)
}

// CheckDisk fails when the file system of folder, or of its nearest existing parent, has less than needMiB free.
func CheckDisk(folder string, needMiB int) error {
	var stat syscall.Statfs_t
	for {
		err := syscall.Statfs(folder, &stat)
		if err == nil {
			break
		}
		parent := filepath.Dir(folder)
		if !errors.Is(err, syscall.ENOENT) || parent == folder {
			return fmt.Errorf("ask for free disk space of %q: %w", folder, err)
		}
		folder = parent
	}
	free := int64(stat.Bavail) * stat.Bsize >> 20
	if free < int64(needMiB) {
		return fmt.Errorf("%d MiB are free at %q, %d MiB are needed: free some space (`go run ./test/lab prune`, `docker system df`), then run this again",
			free, folder, needMiB)
	}
	return nil
}

// Import makes an image named ref of a root file system in a tar archive.
func (e *Engine) Import(ctx context.Context, ref string, rootfs io.Reader, changes []string) error {
	out, err := e.api.ImageImport(ctx, image.ImportSource{Source: rootfs, SourceName: "-"}, ref, image.ImportOptions{
		Message: "debootstrap", Changes: changes,
	})
	if err != nil {
		return fmt.Errorf("import image %s: %w", ref, explain(err))
	}
	defer out.Close()
	log := newLog(nil)
	if err := log.read(out); err != nil {
		return fmt.Errorf("import image %s: %w", ref, explain(err))
	}
	return nil
}

// List returns the references of all images the lab made, and the ids of those that lost their name.
func (e *Engine) List(ctx context.Context) (refs, dangling []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", Label))})
	if err != nil {
		return nil, nil, fmt.Errorf("list lab images: %w", err)
	}
	for _, i := range found {
		named := false
		for _, ref := range i.RepoTags {
			if ref != "<none>:<none>" {
				refs, named = append(refs, ref), true
			}
		}
		if !named {
			dangling = append(dangling, i.ID)
		}
	}
	return refs, dangling, nil
}

// Remove removes the image ref. It reports false when a container or another image still needs it.
func (e *Engine) Remove(ctx context.Context, ref string) (bool, error) {
	_, err := e.api.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
	switch {
	case errdefs.IsConflict(err):
		return false, nil
	case errdefs.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("remove image %s: %w", ref, err)
	}
	return true, nil
}

// explain adds what to do to an error whose cause is known.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "no space left on device") {
		return fmt.Errorf("%w: the engine's disk is full; free some space (`go run ./test/lab prune`, `docker system df`), then run this again", err)
	}
	return err
}
