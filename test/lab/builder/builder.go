// Package builder builds lab images in the order their bases ask for, skipping every image whose
// content the engine already holds.
package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"plantao/test/lab/debian"
	"plantao/test/lab/engine"
	"plantao/test/lab/gobuild"
	"plantao/test/lab/image"
)

// BaseKey is the key of the Debian image that is made by debootstrap, not by a Dockerfile.
const BaseKey = "base"

// parallel builds at a time: one waits for the network while the other computes.
const parallel = 2

// Builder builds images for one engine. Use it once.
type Builder struct {
	root, cache string
	engine      *engine.Engine
	programs    *gobuild.Builder
	specs       map[string]*image.Spec
	base        debian.Base
	progress    *Progress
	opts        Options

	slots   chan struct{}
	mu      sync.Mutex
	started map[string]*result
}

// Options say what to build. The zero value builds every image that changed.
type Options struct {
	// Only are the keys to build, with their bases; empty: all.
	Only []string
	// Force builds the wanted images even when the engine holds them, without its layer cache.
	Force bool
	// Verbose shows the builds' output while they run.
	Verbose bool
}

// Image is one finished image.
type Image struct {
	// Ref is the reference (name:tag).
	Ref string
	// Built is false when the engine already held it.
	Built bool
}

type result struct {
	done chan struct{}
	Image
	err error
}

// New returns a Builder for the project at root that keeps what it made for later in the folder cache.
func New(ctx context.Context, root, cache string, eng *engine.Engine, progress *Progress, opts Options) (*Builder, error) {
	specs, err := image.LoadAll(filepath.Join(root, "test", "lab", "images"))
	if err != nil && len(opts.Only) == 0 {
		return nil, err
	}
	// A broken folder is no reason not to build an image that has nothing to do with it.
	if baseErr := checkBases(specs, opts.Only); baseErr != nil {
		return nil, errors.Join(baseErr, err)
	}
	sources, err := debian.FindSources("/etc")
	if err != nil {
		return nil, err
	}
	programs, err := gobuild.New(ctx, cache, eng.Arch)
	if err != nil {
		return nil, err
	}
	b := &Builder{
		root: root, cache: cache, engine: eng, programs: programs, specs: specs,
		base: debian.Base{Sources: sources, Arch: eng.Arch}, progress: progress, opts: opts,
		slots: make(chan struct{}, parallel), started: map[string]*result{},
	}
	return b, nil
}

// checkBases refuses unknown bases and circles below the wanted images (none named: all); a circle would wait
// for itself for ever.
func checkBases(specs map[string]*image.Spec, wanted []string) error {
	const visiting, visited = 1, 2
	state := map[string]int{BaseKey: visited}
	var visit func(key, from string) error
	visit = func(key, from string) error {
		switch s := specs[key]; {
		case state[key] == visited:
			return nil
		case state[key] == visiting:
			return fmt.Errorf("image %s: its bases lead back to itself through %s", key, from)
		case s == nil && key == from:
			return fmt.Errorf("unknown image %q; there are: %s, %s", key, BaseKey, strings.Join(slices.Sorted(maps.Keys(specs)), ", "))
		case s == nil:
			return fmt.Errorf("image %s: unknown base %q", from, key)
		default:
			state[key] = visiting
			for _, base := range s.Bases {
				if err := visit(base, key); err != nil {
					return err
				}
			}
			state[key] = visited
			return nil
		}
	}
	if len(wanted) == 0 {
		wanted = slices.Sorted(maps.Keys(specs))
	}
	for _, key := range wanted {
		if err := visit(key, key); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) keys() []string { return slices.Sorted(maps.Keys(b.specs)) }

// Run builds what the options ask for. It returns every finished image by key, bases included. One failed image
// does not stop the others: what they finish is not built again next time.
func (b *Builder) Run(ctx context.Context) (map[string]Image, error) {
	wanted := b.opts.Only
	if len(wanted) == 0 {
		wanted = append(b.keys(), BaseKey)
	}
	var all sync.WaitGroup
	for _, key := range wanted {
		all.Go(func() { <-b.start(ctx, key).done })
	}
	all.Wait()
	images, problems := map[string]Image{}, []error(nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(b.started)) {
		if r := b.started[key]; r.err != nil {
			problems = append(problems, r.err)
		} else {
			images[key] = r.Image
		}
	}
	return images, errors.Join(problems...)
}

// start makes the image once, however many others stand on it.
func (b *Builder) start(ctx context.Context, key string) *result {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.started[key]; r != nil {
		return r
	}
	r := &result{done: make(chan struct{})}
	b.started[key] = r
	go func() {
		defer close(r.done)
		if key == BaseKey {
			r.Image, r.err = b.makeBase(ctx)
		} else {
			r.Image, r.err = b.make(ctx, b.specs[key])
		}
	}()
	return r
}

func (b *Builder) forced(key string) bool {
	return b.opts.Force && (len(b.opts.Only) == 0 || slices.Contains(b.opts.Only, key))
}

// make compiles the image's programs, waits for its bases, settles its tag and builds it unless the engine
// holds that tag.
func (b *Builder) make(ctx context.Context, s *image.Spec) (Image, error) {
	in := image.Inputs{Root: b.root, Release: debian.Release, Arch: b.engine.Arch, Bases: map[string]string{}, Binaries: map[string]string{}}
	// Compiled first: that needs no base, and a base may take minutes.
	for _, name := range slices.Sorted(maps.Keys(s.Binaries)) {
		path, err := b.program(ctx, s, name)
		if err != nil {
			return Image{}, fmt.Errorf("image %s: %w", s.Key, err)
		}
		in.Binaries[name] = path
	}
	for _, key := range s.Bases {
		r := b.start(ctx, key)
		<-r.done
		if r.err != nil {
			return Image{}, fmt.Errorf("image %s: not built, its base %s failed", s.Key, key)
		}
		in.Bases[key] = r.Ref
	}
	img, err := s.Resolve(in)
	if err != nil {
		return Image{}, err
	}
	held, err := b.engine.Find(ctx, img.Ref())
	if err != nil || held != nil && !b.forced(s.Key) {
		return Image{Ref: img.Ref()}, err
	}
	if err := b.acquire(ctx); err != nil {
		return Image{}, err
	}
	defer b.release()
	return b.build(ctx, img, held)
}

func (b *Builder) acquire(ctx context.Context) error {
	select {
	case b.slots <- struct{}{}:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Builder) release() { <-b.slots }

func (b *Builder) program(ctx context.Context, s *image.Spec, name string) (string, error) {
	var start time.Time
	path, built, err := b.programs.Build(ctx, b.goProgram(s, name), func() {
		b.progress.Printf(s.Key, "compiling %s", name)
		start = time.Now()
	})
	if built {
		b.progress.Printf(s.Key, "compiled %s in %s", name, seconds(time.Since(start)))
	}
	return path, err
}

func (b *Builder) goProgram(s *image.Spec, name string) gobuild.Program {
	binary := s.Binaries[name]
	return gobuild.Program{Name: name, Module: filepath.Join(b.root, filepath.FromSlash(binary.Module)), Package: binary.Package}
}
