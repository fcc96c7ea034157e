package component

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pulumi/pulumi-docker/sdk/v4/go/docker"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/upstream"
)

// ManifestPath is where `make images` writes, relative to the project's root, where images come from
// and which it built.
const ManifestPath = ".plantao/images.json"

// Manifest is the content of ManifestPath.
type Manifest struct {
	// Source is "lab" or "registry".
	Source string `json:"source"`
	// Images built here by key; with source registry only "router".
	Images map[string]string `json:"images"`
}

// Images are the references a stack runs.
type Images struct {
	lab    bool
	refs   map[string]string
	remote map[string]*docker.RemoteImage
}

// ResolveImages decides the reference of every image. mode is auto, registry or lab; root is the project's
// folder. Nothing is dialled: auto follows the manifest.
func ResolveImages(mode, root string) (Images, error) {
	manifest, err := readManifest(filepath.Join(root, ManifestPath))
	if err != nil {
		return Images{}, err
	}
	if mode == "auto" {
		mode = manifest.Source
	}
	if mode == "lab" && manifest.Source != "lab" {
		return Images{}, errors.New("plantao:images is lab but the lab's images were not built; run `make images SOURCE=lab`")
	}
	refs := map[string]string{"router": manifest.Images["router"]}
	if mode == "lab" {
		refs = maps.Clone(manifest.Images)
	} else if err := addUpstream(refs); err != nil {
		return Images{}, err
	}
	return Images{lab: mode == "lab", refs: refs, remote: map[string]*docker.RemoteImage{}}, nil
}

func readManifest(path string) (Manifest, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Manifest{}, fmt.Errorf("%s is missing: the router's image is not built; run `make images`", ManifestPath)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read image manifest: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return Manifest{}, fmt.Errorf("read %s: %w; delete it and run `make images`", ManifestPath, err)
	}
	if m.Source != "lab" && m.Source != "registry" {
		return Manifest{}, fmt.Errorf("%s has source %q; delete it and run `make images`", ManifestPath, m.Source)
	}
	return m, nil
}

// addUpstream adds the pinned upstream references, with the digest where the lock file has one.
func addUpstream(refs map[string]string) error {
	versions, err := upstream.Versions()
	if err != nil {
		return err
	}
	locked, err := upstream.Lock()
	if err != nil {
		return err
	}
	for key, v := range versions {
		refs[key] = v.Ref()
		if l, ok := locked[key]; ok && l.Ref == v.Ref() {
			refs[key] = v.Ref() + "@" + l.Digest
		}
	}
	return nil
}

// Lab reports whether the images are the lab's, with stand-ins for what cannot be had.
func (i Images) Lab() bool { return i.lab }

// Ref is the reference of an image; the error says what to run when there is none.
func (i Images) Ref(key string) (string, error) {
	if ref := i.refs[key]; ref != "" {
		return ref, nil
	}
	return "", fmt.Errorf("no image for %q; run `make images`", key)
}

// Pull declares every image as a resource: the engine holds it or pulls it, and never deletes it, since
// another stack on the host may run it.
func (i Images) Pull(ctx *pulumi.Context, parent pulumi.Resource) error {
	for _, key := range slices.Sorted(maps.Keys(i.refs)) {
		ref, err := i.Ref(key)
		if err != nil {
			return err
		}
		i.remote[key], err = docker.NewRemoteImage(ctx, "image-"+key, &docker.RemoteImageArgs{
			Name: pulumi.String(ref), KeepLocally: pulumi.Bool(true),
		}, pulumi.Parent(parent))
		if err != nil {
			return err
		}
	}
	return nil
}

func (i Images) resources(key string) []pulumi.Resource {
	if r, ok := i.remote[key]; ok {
		return []pulumi.Resource{r}
	}
	return nil
}
