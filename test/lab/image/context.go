package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"plantao/test/lab/roots"
)

const (
	hostCAName = ".host-ca.crt"
	binFolder  = "bin"
	tagLength  = 16
)

// Inputs are the things outside an image's folder that decide what the image is.
type Inputs struct {
	// Root is the project's folder; Files of the spec are relative to it.
	Root string
	// Release is the Debian release, Arch the processor as Go spells it ("amd64").
	Release, Arch string
	// Bases are the references (name:tag) of the spec's bases, by key.
	Bases map[string]string
	// Binaries are the built programs' paths on this machine, by name. Not stamped: a stamp holds the tag,
	// which is computed from these bytes.
	Binaries map[string]string
}

// Image is a Spec with its content settled: it has a tag and can be sent to the engine.
type Image struct {
	*Spec
	// Tag is the first 16 hex digits of the content hash.
	Tag string

	in      Inputs
	entries []entry
}

// entry is one file of the build context. Files of the project are kept in memory, so that what is sent is
// what was hashed even while somebody edits them; built programs stay where they are, nobody edits those.
type entry struct {
	name string // slash-separated path in the context
	mode int64
	path string // on this machine; empty: body
	body []byte
}

// Resolve reads the context and computes the tag.
func (s *Spec) Resolve(in Inputs) (*Image, error) {
	img := &Image{Spec: s, in: in}
	if err := img.collect(); err != nil {
		return nil, fmt.Errorf("read build context of image %s: %w", s.Key, err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "release %s\narch %s\n", in.Release, in.Arch)
	for _, key := range s.Bases {
		ref, ok := in.Bases[key]
		if !ok {
			return nil, fmt.Errorf("hash image %s: base %s has no reference", s.Key, key)
		}
		fmt.Fprintf(h, "base %s\n", ref)
	}
	fmt.Fprintf(h, "%s %x\n%s %x\n", specFile, sha256.Sum256(s.raw), dockerfileName, sha256.Sum256(s.dockerfile))
	for _, e := range img.entries {
		sum, err := e.hash()
		if err != nil {
			return nil, fmt.Errorf("hash image %s: %w", s.Key, err)
		}
		fmt.Fprintf(h, "%o %q %x\n", e.mode, e.name, sum)
	}
	img.Tag = hex.EncodeToString(h.Sum(nil))[:tagLength]
	return img, nil
}

// Ref is the image's name and tag.
func (i *Image) Ref() string { return i.Repository + ":" + i.Tag }

// Program is the path on this machine of a built program the image carries; empty if it carries none of that name.
func (i *Image) Program(name string) string { return i.in.Binaries[name] }

// BuildArgs are the arguments the Dockerfile is built with.
func (i *Image) BuildArgs() map[string]string {
	args := make(map[string]string, len(i.Args)+len(i.Bases)+1)
	for k, v := range i.Args {
		args[k] = v
	}
	for _, key := range i.Bases {
		args[ArgName(key)] = i.in.Bases[key]
	}
	if i.Version != "" {
		args["VERSION"] = strings.ReplaceAll(i.Version, TagPlaceholder, i.Tag)
	}
	return args
}

func (i *Image) collect() error {
	if err := i.addFolder("", i.Dir); err != nil {
		return err
	}
	for to, from := range i.Files {
		if err := i.addFolder(to, filepath.Join(i.in.Root, filepath.FromSlash(from))); err != nil {
			return err
		}
	}
	for name := range i.Binaries {
		p, ok := i.in.Binaries[name]
		if !ok {
			return fmt.Errorf("binary %s was not built", name)
		}
		i.entries = append(i.entries, entry{name: path.Join(binFolder, name), mode: 0o755, path: p})
	}
	if i.Roots != "" {
		i.entries = append(i.entries, entry{name: i.Roots, mode: 0o644, body: roots.PEM()})
	}
	sort.Slice(i.entries, func(a, b int) bool { return i.entries[a].name < i.entries[b].name })
	for n := 1; n < len(i.entries); n++ {
		if i.entries[n].name == i.entries[n-1].name {
			return fmt.Errorf("two sources for %q", i.entries[n].name)
		}
	}
	return nil
}

// addFolder adds the file or the tree at from under the context path to.
func (i *Image) addFolder(to, from string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if to == "" && (rel == specFile || rel == dockerfileName) {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%q is neither a file nor a folder", p)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		// Modes come from the executable bit alone: a checkout under another umask is the same image.
		mode := int64(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		body, err := os.ReadFile(p) //nolint:gosec // the project's own files; links were refused above
		if err != nil {
			return err
		}
		i.entries = append(i.entries, entry{name: path.Join(to, filepath.ToSlash(rel)), mode: mode, body: body})
		return nil
	})
}

func (e entry) open() (io.ReadCloser, int64, error) {
	if e.path == "" {
		return io.NopCloser(bytes.NewReader(e.body)), int64(len(e.body)), nil
	}
	f, err := os.Open(e.path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (e entry) hash() ([]byte, error) {
	r, _, err := e.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return nil, fmt.Errorf("read %q: %w", e.path, err)
	}
	return h.Sum(nil), nil
}

// Extra is what is sent along with the context without being part of the image's identity.
type Extra struct {
	// HostCA is the machine's CA bundle (PEM); required when the spec asks for it.
	HostCA []byte
	// Stamped are binaries that replace the ones hashed, by name: the same program carrying the tag.
	Stamped map[string]string
}

// WriteContext writes the build context as a tar stream: fixed owner and times, so equal content is
// equal bytes and the engine's layer cache can hit.
func (i *Image) WriteContext(w io.Writer, extra Extra) error {
	if i.HostCA && len(extra.HostCA) == 0 {
		return fmt.Errorf("write build context of image %s: the machine's CA bundle is missing", i.Key)
	}
	entries := append([]entry{{name: dockerfileName, mode: 0o644, body: i.dockerfile}}, i.entries...)
	if i.HostCA {
		entries = append(entries, entry{name: hostCAName, mode: 0o644, body: extra.HostCA})
	}
	tw := tar.NewWriter(w)
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.name, binFolder+"/"); ok && extra.Stamped[name] != "" {
			e.path = extra.Stamped[name]
		}
		if err := writeEntry(tw, e); err != nil {
			return fmt.Errorf("write %q to the build context of image %s: %w", e.name, i.Key, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, e entry) error {
	r, size, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	header := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: size, ModTime: time.Unix(0, 0)}
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(tw, r)
	return err
}
