package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// scriptVersion is raised whenever this file makes another root file system of the same packages.
const scriptVersion = "1"

// Base is a root file system to be made.
type Base struct {
	Sources Sources
	// Arch is the processor as Debian and Go spell it ("amd64", "arm64").
	Arch string
}

// Tag is the first 16 hex digits of the hash of what decides the content. The archives are part of it:
// images built on a base ask the archives its sources.list names, so another mirror is another base.
func (b Base) Tag() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{Release, scriptVersion, b.Arch, b.Sources.Mirror}, b.Sources.Lines...), "\n")))
	return hex.EncodeToString(sum[:])[:16]
}

// Make returns the path of the root file system as a tar archive in the folder cache, making it there when
// it is missing (about a minute). Needs root, debootstrap and tar. Output of the programs is returned in
// the error.
func (b Base) Make(ctx context.Context, cache string) (string, error) {
	archive := b.archive(cache)
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for cached base image: %w", err)
	}
	if err := canBootstrap(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	work, err := os.MkdirTemp(cache, "base-*")
	if err != nil {
		return "", fmt.Errorf("make folder for the base image: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	root := filepath.Join(work, "root")
	if err := b.bootstrap(ctx, root); err != nil {
		return "", err
	}
	if err := b.clean(root); err != nil {
		return "", fmt.Errorf("clean base image: %w", err)
	}
	partial := filepath.Join(work, "root.tar")
	if err := pack(ctx, root, partial); err != nil {
		return "", err
	}
	if err := os.Rename(partial, archive); err != nil {
		return "", fmt.Errorf("keep base image: %w", err)
	}
	return archive, nil
}

// Forget removes the archive [Base.Make] kept, so that the next one holds the newest packages.
func (b Base) Forget(cache string) error {
	if err := os.Remove(b.archive(cache)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cached base image: %w", err)
	}
	return nil
}

func (b Base) archive(cache string) string {
	return filepath.Join(cache, fmt.Sprintf("base-%s-%s.tar", Release, b.Tag()))
}

func canBootstrap() error {
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return errors.New("make base image: debootstrap is missing; run `make setup`, or install it with `apt-get install debootstrap debian-archive-keyring`")
	}
	if os.Geteuid() != 0 {
		return errors.New("make base image: debootstrap needs root; run this once with sudo (the result is kept), or use a machine where an image registry answers")
	}
	return nil
}

func (b Base) bootstrap(ctx context.Context, root string) error {
	args := []string{"--variant=minbase", "--arch=" + b.Arch}
	if strings.HasPrefix(b.Sources.Mirror, "https:") {
		args = append(args, "--include=ca-certificates")
	}
	args = append(args, Release, root)
	if b.Sources.Mirror != "" {
		args = append(args, b.Sources.Mirror)
	}
	return run(ctx, "make base image", "debootstrap", args...)
}

// clean removes what differs between two runs and what belongs to a machine, not to an image.
func (b Base) clean(root string) error {
	for _, pattern := range []string{
		"var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "var/cache/ldconfig/aux-cache", "var/cache/debconf/*-old",
		"var/lib/dpkg/*-old", "debootstrap", "etc/resolv.conf", "etc/hostname", "etc/machine-id", "var/lib/dbus/machine-id",
		"tmp/*", "run/*",
	} {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, m := range matches {
			if err := os.RemoveAll(m); err != nil {
				return err
			}
		}
	}
	files := map[string]string{
		// As in the distribution's own container images: no service starts while packages are installed,
		// and downloaded packages are not kept.
		"usr/sbin/policy-rc.d":                    "#!/bin/sh\nexit 101\n",
		"etc/apt/apt.conf.d/docker-clean":         "APT::Keep-Downloaded-Packages \"false\";\nDir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\nDPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb\"; };\n",
		"etc/apt/apt.conf.d/docker-no-languages":  "Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n",
		"etc/dpkg/dpkg.cfg.d/docker-no-documents": "path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n",
		"etc/machine-id":                          "",
	}
	if len(b.Sources.Lines) > 0 {
		files["etc/apt/sources.list"] = strings.Join(b.Sources.Lines, "\n") + "\n"
	}
	for name, text := range files {
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), mode); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(root, "var/cache/apt/archives/partial"), 0o755)
}

// pack writes the tree as a tar archive in a fixed order. Device nodes stay out: the engine makes its own.
func pack(ctx context.Context, root, archive string) error {
	return run(ctx, "pack base image", "tar", "--create", "--file="+archive, "--directory="+root, "--sort=name", "--numeric-owner",
		"--xattrs", "--xattrs-include=*", "--mtime=@0", "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", ".")
}

// run runs a program and puts the end of its output into the error.
func run(ctx context.Context, what, name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	// debootstrap mounts /proc in the new root and takes it down when it is asked to end, not when killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
		return fmt.Errorf("%s: run %s: %w; its last lines:\n%s", what, name, err, tail(out.String(), 15))
	}
	return nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
