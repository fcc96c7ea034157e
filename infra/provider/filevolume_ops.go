package provider

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
)

// filesAt is where the helper container sees the volume.
const filesAt = "/plantao-files"

var (
	_ infer.CustomCheck[FileVolumeArgs]                   = FileVolume{}
	_ infer.CustomCreate[FileVolumeArgs, FileVolumeState] = FileVolume{}
	_ infer.CustomDiff[FileVolumeArgs, FileVolumeState]   = FileVolume{}
	_ infer.CustomRead[FileVolumeArgs, FileVolumeState]   = FileVolume{}
	_ infer.CustomDelete[FileVolumeState]                 = FileVolume{}
)

// Check refuses paths that would leave the volume.
func (FileVolume) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[FileVolumeArgs], error) {
	args, failures, err := infer.DefaultCheck[FileVolumeArgs](ctx, req.NewInputs)
	for name := range args.Files {
		if name == "" || path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "..") {
			failures = append(failures, p.CheckFailure{Property: "files", Reason: fmt.Sprintf("%q is not a clean relative path", name)})
		}
	}
	return infer.CheckResponse[FileVolumeArgs]{Inputs: args, Failures: failures}, err
}

// Create makes the volume and copies the files into it. A volume of that name left by a run that died
// is completed: equal names mean equal content.
func (FileVolume) Create(ctx context.Context, req infer.CreateRequest[FileVolumeArgs]) (infer.CreateResponse[FileVolumeState], error) {
	state := FileVolumeState{FileVolumeArgs: req.Inputs}
	if req.DryRun {
		return infer.CreateResponse[FileVolumeState]{Output: state}, nil
	}
	state.Digest = digestOf(req.Inputs)
	state.Name = req.Inputs.Prefix + "-" + state.Digest
	cli, err := engine(ctx)
	if err != nil {
		return infer.CreateResponse[FileVolumeState]{}, err
	}
	defer cli.Close()
	if _, err := cli.VolumeCreate(ctx, volume.CreateOptions{Name: state.Name, Labels: req.Inputs.Labels}); err != nil {
		return infer.CreateResponse[FileVolumeState]{}, fmt.Errorf("create volume %s: %w", state.Name, explain(err))
	}
	err = withHelper(ctx, cli, state, func(id string) error {
		return cli.CopyToContainer(ctx, id, filesAt, tarOf(req.Inputs), container.CopyToContainerOptions{})
	})
	if err != nil {
		return infer.CreateResponse[FileVolumeState]{}, fmt.Errorf("write files into volume %s: %w", state.Name, err)
	}
	return infer.CreateResponse[FileVolumeState]{ID: state.Name, Output: state}, nil
}

// Diff replaces when content, owner or name change; the helper's image and labels may differ freely.
func (FileVolume) Diff(_ context.Context, req infer.DiffRequest[FileVolumeArgs, FileVolumeState]) (infer.DiffResponse, error) {
	diff := map[string]p.PropertyDiff{}
	replaceIf(diff, "prefix", req.State.Prefix != req.Inputs.Prefix)
	replaceIf(diff, "uid", req.State.UID != req.Inputs.UID)
	replaceIf(diff, "gid", req.State.GID != req.Inputs.GID)
	for _, name := range slices.Sorted(maps.Keys(union(req.State.Files, req.Inputs.Files))) {
		was, had := req.State.Files[name]
		is, has := req.Inputs.Files[name]
		replaceIf(diff, "files."+name, had != has || was != is)
	}
	return infer.DiffResponse{HasChanges: len(diff) > 0, DetailedDiff: diff}, nil
}

// Read compares the volume with the state. Missing or changed content reads as gone, so that the next
// `up` makes it anew.
func (FileVolume) Read(ctx context.Context, req infer.ReadRequest[FileVolumeArgs, FileVolumeState]) (infer.ReadResponse[FileVolumeArgs, FileVolumeState], error) {
	var gone infer.ReadResponse[FileVolumeArgs, FileVolumeState]
	cli, err := engine(ctx)
	if err != nil {
		return gone, err
	}
	defer cli.Close()
	if _, err := cli.VolumeInspect(ctx, req.ID); cerrdefs.IsNotFound(err) {
		return gone, nil
	} else if err != nil {
		return gone, fmt.Errorf("inspect volume %s: %w", req.ID, explain(err))
	}
	var found FileVolumeArgs
	err = withHelper(ctx, cli, req.State, func(id string) error {
		found, err = readFiles(ctx, cli, id, req.State)
		return err
	})
	if err != nil {
		return gone, fmt.Errorf("read files of volume %s: %w", req.ID, err)
	}
	if digestOf(found) != req.State.Digest {
		return gone, nil
	}
	return infer.ReadResponse[FileVolumeArgs, FileVolumeState](req), nil
}

// Delete removes the volume. A container that still mounts it is an error that names it.
func (FileVolume) Delete(ctx context.Context, req infer.DeleteRequest[FileVolumeState]) (infer.DeleteResponse, error) {
	cli, err := engine(ctx)
	if err != nil {
		return infer.DeleteResponse{}, err
	}
	defer cli.Close()
	err = cli.VolumeRemove(ctx, req.ID, false)
	if cerrdefs.IsNotFound(err) {
		p.GetLogger(ctx).Warningf("volume %s was already gone", req.ID)
		return infer.DeleteResponse{}, nil
	}
	if err != nil {
		return infer.DeleteResponse{}, fmt.Errorf("remove volume %s: %w", req.ID, explain(err))
	}
	return infer.DeleteResponse{}, nil
}

// digestOf is over owner and every (path, content), each with its length so that no two sets collide.
func digestOf(a FileVolumeArgs) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%d\n", a.UID, a.GID)
	for _, name := range slices.Sorted(maps.Keys(a.Files)) {
		fmt.Fprintf(h, "%d:%s%d:%s", len(name), name, len(a.Files[name]), a.Files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func tarOf(a FileVolumeArgs) io.Reader {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	// Writing to a bytes.Buffer cannot fail, and every header below is valid by Check.
	add := func(h *tar.Header, content string) {
		h.Uid, h.Gid, h.ModTime = a.UID, a.GID, time.Unix(0, 0)
		_ = w.WriteHeader(h)
		_, _ = io.WriteString(w, content)
	}
	dirs := map[string]bool{".": true}
	add(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o550}, "")
	for _, name := range slices.Sorted(maps.Keys(a.Files)) {
		var missing []string
		for d := path.Dir(name); !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
			missing = append(missing, d)
		}
		slices.Reverse(missing)
		for _, d := range missing {
			add(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o550}, "")
		}
		add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o440, Size: int64(len(a.Files[name]))}, a.Files[name])
	}
	_ = w.Close()
	return &buf
}

func readFiles(ctx context.Context, cli *client.Client, id string, s FileVolumeState) (FileVolumeArgs, error) {
	found := FileVolumeArgs{Files: map[string]string{}, UID: s.UID, GID: s.GID}
	r, _, err := cli.CopyFromContainer(ctx, id, filesAt)
	if err != nil {
		return found, explain(err)
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return found, err
		}
		_, rel, _ := strings.Cut(h.Name, "/")
		found.Files[rel] = string(content)
		if h.Uid != s.UID || h.Gid != s.GID {
			found.UID, found.GID = h.Uid, h.Gid
		}
	}
}

// withHelper makes a container on the volume that is never started, and removes it afterwards.
func withHelper(ctx context.Context, cli *client.Client, s FileVolumeState, do func(id string) error) error {
	if err := ensureImage(ctx, cli, s.Image); err != nil {
		return err
	}
	created, err := cli.ContainerCreate(ctx,
		&container.Config{Image: s.Image, Cmd: []string{"never-started"}, Labels: s.Labels},
		&container.HostConfig{
			NetworkMode: "none",
			Mounts:      []mount.Mount{{Type: mount.TypeVolume, Source: s.Name, Target: filesAt}},
		}, nil, nil, "")
	if err != nil {
		return fmt.Errorf("create helper container from %s: %w", s.Image, explain(err))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = cli.ContainerRemove(ctx, created.ID, container.RemoveOptions{Force: true})
	}()
	return do(created.ID)
}

// ensureImage pulls ref unless the engine holds it.
func ensureImage(ctx context.Context, cli *client.Client, ref string) error {
	_, err := cli.ImageInspect(ctx, ref)
	if err == nil {
		return nil
	}
	if !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("inspect image %s: %w", ref, explain(err))
	}
	r, err := cli.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return fmt.Errorf("pull image %s: %w (no registry? `make images` builds the lab's)", ref, explain(err))
	}
	defer r.Close()
	// The pull is done when its progress stream ends.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("pull image %s: %w", ref, err)
	}
	return nil
}

// explain adds what to do when no engine answers.
func explain(err error) error {
	if client.IsErrConnectionFailed(err) {
		return fmt.Errorf("%w (start Docker, or point DOCKER_HOST at it; `plantao doctor` says more)", err)
	}
	return err
}

func union[V any](a, b map[string]V) map[string]V {
	u := maps.Clone(a)
	if u == nil {
		u = map[string]V{}
	}
	maps.Copy(u, b)
	return u
}
