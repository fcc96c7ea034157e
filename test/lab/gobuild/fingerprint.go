package gobuild

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// fingerprint hashes everything that decides the program's bytes: toolchain, platform, the module's go.mod and
// go.sum, and the files of the given folders. A package that is new to the program shows as a changed
// import in a file of a known folder, so the known folders are enough to notice it.
func (b *Builder) fingerprint(p Program, folders map[string]bool) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s linux/%s %s %s\n", b.goVersion, b.arch, p.Package, os.Getenv("GOFLAGS"))
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := hashFile(h, p.Module, filepath.Join(p.Module, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read what program %s is made of: %w", p.Name, err)
		}
	}
	names := make([]string, 0, len(folders))
	for f := range folders {
		names = append(names, f)
	}
	sort.Strings(names)
	for _, folder := range names {
		if err := hashFolder(h, p.Module, folder, folders[folder]); err != nil {
			return "", fmt.Errorf("read what program %s is made of: %w", p.Name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

// hashFolder adds a package's files; with below also those of the folders below it, for embedded trees.
func hashFolder(h io.Writer, module, folder string, below bool) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != folder && !below {
				return filepath.SkipDir
			}
			return nil
		case strings.HasSuffix(path, "_test.go"), !d.Type().IsRegular():
			return nil
		}
		return hashFile(h, module, path)
	})
}

// hashFile adds a file's name, relative to the module so that two clones agree, and its content.
func hashFile(h io.Writer, module, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(module, path)
	if err != nil {
		name = path
	}
	_, err = fmt.Fprintf(h, "%q %x\n", filepath.ToSlash(name), sha256.Sum256(content))
	return err
}

// output is where the program made of these inputs is kept.
func (b *Builder) output(p Program, inputs string) string {
	return filepath.Join(b.cache, "bin", inputs, p.Name)
}

// stampPath is where it is remembered what the program in this clone was made of.
func (b *Builder) stampPath(p Program) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{p.Module, p.Package, p.Name, b.arch}, "\n")))
	return filepath.Join(b.cache, "stamps", hex.EncodeToString(sum[:])[:32]+".json")
}
