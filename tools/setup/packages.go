package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// neededPackage is a Debian package and the sign that what is needed of it is already there, however it came.
type neededPackage struct {
	Name     string
	Programs []string // patterns of which one must match an executable; a name without / is looked for on PATH
	Files    []string // files that do as well, for packages without programs
}

var (
	testPackages = []neededPackage{
		// Tests start their own servers on free ports; the programs are in no PATH folder on Debian.
		{Name: "postgresql", Programs: []string{"/usr/lib/postgresql/*/bin/initdb", "initdb"}},
		{Name: "redis-server", Programs: []string{"redis-server"}},
		// Slow clients, for bench-ingest.
		{Name: "slowhttptest", Programs: []string{"slowhttptest"}},
	}
	labPackages = []neededPackage{
		{Name: "debootstrap", Programs: []string{"debootstrap", "/usr/sbin/debootstrap"}},
		// Without it, on Ubuntu, debootstrap takes Debian's packages without checking their signature.
		{Name: "debian-archive-keyring", Files: []string{"/usr/share/keyrings/debian-archive-keyring.gpg"}},
	}
)

// there reports whether one of the package's programs or files is found.
func (p neededPackage) there() bool {
	for _, file := range p.Files {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	for _, program := range p.Programs {
		if matches, err := filepath.Glob(program); err == nil && strings.ContainsRune(program, '/') {
			for _, match := range matches {
				if isProgram(match) {
					return true
				}
			}
			continue
		}
		if isProgram(program) {
			return true
		}
	}
	return false
}

// packages provides Debian packages: nothing when their programs are there, else by apt-get as root, else it says what
// to run.
func (s *setup) packages(ctx context.Context, needed []neededPackage) error {
	var all, missing []string
	for _, p := range needed {
		all = append(all, p.Name)
		if !p.there() {
			missing = append(missing, p.Name)
		}
	}
	if len(missing) == 0 {
		s.report.say(keyPackagesReady, strings.Join(all, ", "))
		return nil
	}
	if err := s.install(ctx, readSystem(), missing); err != nil {
		return err
	}
	for _, p := range needed {
		if !p.there() {
			return userError(keyPackagesFailed, fmt.Errorf("after installing %s: find %q: %w", p.Name, append(p.Programs, p.Files...), exec.ErrNotFound), p.Name, s.cache.log("apt"))
		}
	}
	return nil
}
