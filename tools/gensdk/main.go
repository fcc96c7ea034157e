// Command gensdk writes the Go SDK of a Pulumi provider from its schema.
//
//	pulumi-resource-plantao's schema on stdin | gensdk -out infra/sdk
//
// It exists because `pulumi package gen-sdk` needs the Go language plugin, which is not everywhere.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/blang/semver"
	gogen "github.com/pulumi/pulumi/pkg/v3/codegen/go"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
)

func main() {
	out := flag.String("out", "", "folder the SDK is written into; its old content of the package goes")
	flag.Parse()
	if err := run(os.Stdin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gensdk:", err)
		os.Exit(1)
	}
}

// noPackages is a loader for a schema that refers to no other package, as ours does not.
type noPackages struct{}

func (noPackages) LoadPackage(pkg string, _ *semver.Version) (*schema.Package, error) {
	return nil, fmt.Errorf("the schema refers to package %s, which gensdk cannot load", pkg)
}

func (l noPackages) LoadPackageV2(_ context.Context, d *schema.PackageDescriptor) (*schema.Package, error) {
	return l.LoadPackage(d.Name, d.Version)
}

func run(in io.Reader, out string) error {
	if out == "" {
		return fmt.Errorf("say where to write with -out")
	}
	var spec schema.PackageSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	pkg, diags, err := schema.BindSpec(spec, noPackages{}, schema.ValidationOptions{})
	if err != nil {
		return fmt.Errorf("bind schema: %w", err)
	}
	if diags.HasErrors() {
		return fmt.Errorf("bind schema: %w", diags)
	}
	files, err := gogen.GeneratePackage("gensdk", pkg, nil)
	if err != nil {
		return fmt.Errorf("generate Go package: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(out, pkg.Name)); err != nil {
		return fmt.Errorf("clear old SDK: %w", err)
	}
	for name, content := range files {
		// The SDK is a package of our own module, not a module of its own.
		if filepath.Base(name) == "go.mod" {
			continue
		}
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write SDK: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write SDK: %w", err)
		}
	}
	return nil
}
