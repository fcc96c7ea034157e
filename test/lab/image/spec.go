// Package image describes one lab image: what its folder says (image.yaml, Dockerfile, files), what the
// engine is sent to build it, and the content hash that becomes its tag.
package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	specFile       = "image.yaml"
	dockerfileName = "Dockerfile"
	// TagPlaceholder in version stands for the image's own tag.
	TagPlaceholder = "{tag}"

	defaultTimeout = 15 * time.Minute
	defaultDiskMiB = 1024
)

// Spec is one image folder, as image.yaml and the folder's name state it.
type Spec struct {
	// Key is the folder's name and the key in the manifest ("n8n-runner").
	Key string `yaml:"-"`
	// Dir is the folder: Dockerfile, image.yaml and everything else that is the build context.
	Dir string `yaml:"-"`

	// Bases are keys of other lab images. Each arrives as the build argument of its name in capitals
	// with - written as _ (BASE, N8N).
	Bases []string `yaml:"bases"`
	// Version is what the image holds; it arrives as the build argument VERSION. "{tag}" is the image's
	// own tag. Empty: the Dockerfile states it itself.
	Version string `yaml:"version"`
	// Repository is the image's name without tag; default plantao-lab/<key>.
	Repository string `yaml:"repository"`
	// Args are further build arguments.
	Args map[string]string `yaml:"args"`
	// Binaries are Go programs put into the context as bin/<name>.
	Binaries map[string]Binary `yaml:"binaries"`
	// Files are context path → file or folder of the project, relative to its root.
	Files map[string]string `yaml:"files"`
	// HostCA puts this machine's CA bundle into the context as .host-ca.crt, for builder stages that
	// download over TLS. It is no part of the content hash: it decides how bytes travel, not which.
	HostCA bool `yaml:"host_ca"`
	// Roots puts Mozilla's root certificates into the context under this name; empty: none.
	Roots string `yaml:"roots"`
	// Timeout limits the engine's whole build; default 15 minutes.
	Timeout time.Duration `yaml:"timeout"`
	// DiskMiB must be free where the engine keeps images before a build starts; default 1024.
	DiskMiB int `yaml:"disk"`

	raw        []byte
	dockerfile []byte
}

// Binary is a Go program an image carries.
type Binary struct {
	// Module is the folder of its go.mod, relative to the project's root; default ".".
	Module string `yaml:"module"`
	// Package is the Go package to build inside that module ("./cmd/router").
	Package string `yaml:"package"`
	// Stamp names a string variable that receives the image's tag ("main.version"); empty: none.
	Stamp string `yaml:"stamp"`
}

var keyPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Load reads the image folder dir and checks it, reporting every problem at once.
func Load(dir string) (*Spec, error) {
	s := &Spec{Key: filepath.Base(dir), Dir: dir}
	var err error
	if s.raw, err = os.ReadFile(filepath.Join(dir, specFile)); err != nil {
		return nil, fmt.Errorf("read image %s: %w", s.Key, err)
	}
	if s.dockerfile, err = os.ReadFile(filepath.Join(dir, dockerfileName)); err != nil {
		return nil, fmt.Errorf("read image %s: %w", s.Key, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(s.raw))
	decoder.KnownFields(true)
	// A file of comments only is a valid empty document.
	if err := decoder.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s of image %s: %w", specFile, s.Key, err)
	}
	s.setDefaults()
	if err := errors.Join(append(s.problems(), CheckDockerfile(s.dockerfile)...)...); err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Key, err)
	}
	return s, nil
}

// LoadAll reads every folder below dir that holds an image.yaml, by key.
func LoadAll(dir string) (map[string]*Spec, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*", specFile))
	if err != nil {
		return nil, fmt.Errorf("list images in %q: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("list images in %q: none found", dir)
	}
	specs := make(map[string]*Spec, len(paths))
	var problems []error
	for _, p := range paths {
		s, err := Load(filepath.Dir(p))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		specs[s.Key] = s
	}
	return specs, errors.Join(problems...)
}

func (s *Spec) setDefaults() {
	if s.Repository == "" {
		s.Repository = "plantao-lab/" + s.Key
	}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	if s.DiskMiB == 0 {
		s.DiskMiB = defaultDiskMiB
	}
	for name, b := range s.Binaries {
		if b.Module == "" {
			b.Module = "."
			s.Binaries[name] = b
		}
	}
}

func (s *Spec) problems() []error {
	var found []error
	report := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	if !keyPattern.MatchString(s.Key) {
		report("folder name %q: want lower-case words joined by -", s.Key)
	}
	if strings.ContainsAny(s.Repository, ": @") {
		report("repository %q: want a name without tag or digest", s.Repository)
	}
	for name, b := range s.Binaries {
		if b.Package == "" || !keyPattern.MatchString(name) {
			report("binary %q: want a lower-case name and a package", name)
		}
		if !inside(b.Module) {
			report("binary %q: module folder %q leaves the project", name, b.Module)
		}
	}
	for to, from := range s.Files {
		if !inside(to) || !inside(from) {
			report("files: %q from %q leaves the build context or the project", to, from)
		}
	}
	if s.Roots != "" && !inside(s.Roots) {
		report("roots: %q leaves the build context", s.Roots)
	}
	if s.Timeout < 0 || s.DiskMiB < 0 {
		report("timeout and disk must not be negative")
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Error() < found[j].Error() })
	return found
}

func inside(p string) bool {
	return p != "" && !path.IsAbs(p) && filepath.IsLocal(filepath.FromSlash(p))
}

// ArgName is the build argument under which the image with this key arrives in a Dockerfile.
func ArgName(key string) string {
	return strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}
