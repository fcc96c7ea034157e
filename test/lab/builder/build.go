package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"plantao/test/lab/engine"
	"plantao/test/lab/image"
)

// baseDiskMiB is what the base image needs, unpacked, packed and imported.
const baseDiskMiB = 1024

// build builds an image. It takes the name of old, which is nil unless the build was forced.
func (b *Builder) build(ctx context.Context, img *image.Image, old *engine.Held) (Image, error) {
	start := time.Now()
	if err := b.engine.CheckDisk(img.DiskMiB); err != nil {
		return Image{}, fmt.Errorf("image %s: %w", img.Key, err)
	}
	extra, clean, err := b.extra(ctx, img)
	defer clean()
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", img.Key, err)
	}
	b.progress.Printf(img.Key, "building %s", img.Ref())
	var output io.Writer
	if b.opts.Verbose {
		output = b.progress
	}
	err = b.engine.Build(ctx, engine.BuildOptions{
		Ref: img.Ref(), Args: img.BuildArgs(), Labels: map[string]string{engine.Label: img.Key},
		NoCache: b.opts.Force, Timeout: img.Timeout, Output: output,
	}, func(w io.Writer) error { return img.WriteContext(w, extra) })
	if err != nil {
		return Image{}, err
	}
	return b.finished(ctx, img.Key, img.Ref(), old, start)
}

// finished reports the image, and removes the one whose name it took unless something still needs that.
func (b *Builder) finished(ctx context.Context, key, ref string, old *engine.Held, start time.Time) (Image, error) {
	made, err := b.engine.Find(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	if made == nil {
		return Image{}, fmt.Errorf("build image %s: the engine does not hold it after building it", ref)
	}
	if old != nil && old.ID != made.ID {
		if _, err := b.engine.Remove(ctx, old.ID); err != nil {
			return Image{}, err
		}
	}
	b.progress.Printf(key, "built in %s, %s", seconds(time.Since(start)), megabytes(made.Size))
	return Image{Ref: ref, Built: true}, nil
}

// extra makes what is sent beside the hashed content. clean removes it again; it is never nil.
func (b *Builder) extra(ctx context.Context, img *image.Image) (extra image.Extra, clean func(), err error) {
	dir, err := os.MkdirTemp("", "plantao-lab-*")
	if err != nil {
		return extra, func() {}, fmt.Errorf("make folder for stamped programs: %w", err)
	}
	clean = func() { _ = os.RemoveAll(dir) }
	if img.HostCA {
		if extra.HostCA, err = hostCA(); err != nil {
			return extra, clean, err
		}
	}
	extra.Stamped = map[string]string{}
	for name, binary := range img.Binaries {
		if binary.Stamp == "" {
			continue
		}
		extra.Stamped[name] = filepath.Join(dir, name)
		err := b.programs.Stamp(ctx, b.goProgram(img.Spec, name), img.Program(name), binary.Stamp, img.Tag, extra.Stamped[name])
		if err != nil {
			return extra, clean, err
		}
	}
	return extra, clean, nil
}

// hostCA is the bundle this machine's programs trust, in the places the distributions keep it.
func hostCA() ([]byte, error) {
	places := []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}
	if p := os.Getenv("SSL_CERT_FILE"); p != "" {
		places = append([]string{p}, places...)
	}
	for _, p := range places {
		text, err := os.ReadFile(p) //nolint:gosec // the operator names his own CA bundle, as for every TLS program
		if err == nil {
			return text, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the machine's CA bundle: %w", err)
		}
	}
	return nil, errors.New("no CA bundle on this machine: install the package ca-certificates or set SSL_CERT_FILE")
}

// makeBase makes the Debian image unless the engine holds it.
func (b *Builder) makeBase(ctx context.Context) (Image, error) {
	start := time.Now()
	ref := "plantao-lab/" + BaseKey + ":" + b.base.Tag()
	held, err := b.engine.Find(ctx, ref)
	if err != nil || held != nil && !b.forced(BaseKey) {
		return Image{Ref: ref}, err
	}
	if err := b.acquire(ctx); err != nil {
		return Image{}, err
	}
	defer b.release()
	if err := errors.Join(b.engine.CheckDisk(baseDiskMiB), engine.CheckDisk(b.cache, baseDiskMiB)); err != nil {
		return Image{}, fmt.Errorf("image %s: %w", BaseKey, err)
	}
	b.progress.Printf(BaseKey, "making %s (debootstrap, about a minute unless cached)", ref)
	if b.forced(BaseKey) {
		if err := b.base.Forget(b.cache); err != nil {
			return Image{}, err
		}
	}
	archive, err := b.base.Make(ctx, b.cache)
	if err != nil {
		return Image{}, err
	}
	f, err := os.Open(archive)
	if err != nil {
		return Image{}, fmt.Errorf("open base image: %w", err)
	}
	defer f.Close()
	err = b.engine.Import(ctx, ref, f, []string{
		"ENV LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		`CMD ["bash"]`,
		"LABEL " + engine.Label + "=" + BaseKey,
	})
	if err != nil {
		return Image{}, err
	}
	return b.finished(ctx, BaseKey, ref, held, start)
}
