package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// goModule is what `go env` and go.mod say about the program's module.
type goModule struct {
	Dir   string // folder of go.mod
	Cache string // Go's module cache
	File  *modfile.File
}

// loadModule reads the module the program folder belongs to. errNoModule when it belongs to none.
func loadModule(ctx context.Context, programDir string) (*goModule, error) {
	gobin, err := goCommand()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, gobin, "env", "-json", "GOMOD", "GOMODCACHE")
	cmd.Dir = programDir
	// A workspace would name other modules; only the one the program is in counts.
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask go about the module of %q: %w", programDir, err)
	}
	var env struct{ GOMOD, GOMODCACHE string }
	if err := json.Unmarshal(out, &env); err != nil {
		return nil, fmt.Errorf("read the answer of go env: %w", err)
	}
	if env.GOMOD == "" || env.GOMOD == os.DevNull {
		return nil, errNoModule
	}
	body, err := os.ReadFile(env.GOMOD)
	if err != nil {
		return nil, fmt.Errorf("read go.mod: %w", err)
	}
	file, err := modfile.Parse(env.GOMOD, body, nil)
	if err != nil {
		return nil, fmt.Errorf("parse go.mod: %w", err)
	}
	return &goModule{Dir: filepath.Dir(env.GOMOD), Cache: env.GOMODCACHE, File: file}, nil
}

var errNoModule = errors.New("the program is in no Go module: run go mod init in its folder")

// replacement returns what stands in for a required module: itself when nothing does.
func (m *goModule) replacement(required module.Version) module.Version {
	for _, r := range m.File.Replace {
		if r.Old.Path == required.Path && (r.Old.Version == "" || r.Old.Version == required.Version) {
			return r.New
		}
	}
	return required
}

// dir is where a required module's files are; the folder may be missing. Reading it off the cache's layout instead of
// asking `go list -m` for every module saves about a second of each preview.
func (m *goModule) dir(required module.Version) (string, error) {
	if vendored := filepath.Join(m.Dir, "vendor", filepath.FromSlash(required.Path)); isDir(vendored) {
		return vendored, nil
	}
	actual := m.replacement(required)
	if actual.Version == "" {
		if filepath.IsAbs(actual.Path) {
			return actual.Path, nil
		}
		return filepath.Join(m.Dir, actual.Path), nil
	}
	path, err := module.EscapePath(actual.Path)
	if err != nil {
		return "", fmt.Errorf("module path %q: %w", actual.Path, err)
	}
	vers, err := module.EscapeVersion(actual.Version)
	if err != nil {
		return "", fmt.Errorf("version of module %q: %w", actual.Path, err)
	}
	return filepath.Join(m.Cache, filepath.FromSlash(path)+"@"+vers), nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// GetRequiredPackages lists the provider plugins the program's SDK modules name, so that the engine has them before
// the program runs. A program outside any module requires none that could be known.
func (h *host) GetRequiredPackages(ctx context.Context, req *pulumirpc.GetRequiredPackagesRequest) (*pulumirpc.GetRequiredPackagesResponse, error) {
	mod, err := loadModule(ctx, req.GetInfo().GetProgramDirectory())
	if errors.Is(err, errNoModule) {
		return &pulumirpc.GetRequiredPackagesResponse{}, nil
	}
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%v", err)
	}
	resp := &pulumirpc.GetRequiredPackagesResponse{}
	for _, r := range mod.File.Require {
		pkg, err := mod.requiredPackage(ctx, r.Mod)
		if err != nil {
			return nil, status.Errorf(codes.FailedPrecondition, "%v", err)
		}
		if pkg != nil {
			resp.Packages = append(resp.Packages, pkg)
		}
	}
	return resp, nil
}

// requiredPackage returns the provider package a module is the SDK of, or nil when it is none.
func (m *goModule) requiredPackage(ctx context.Context, required module.Version) (*pulumirpc.PackageDependency, error) {
	dir, err := m.dir(required)
	if err != nil {
		return nil, err
	}
	if !isDir(dir) {
		// Only a provider SDK is worth a download here; the build fetches the rest. On a fresh clone this is what
		// lets the engine fetch plugins first.
		if !strings.Contains(required.Path, "pulumi") || isDir(filepath.Join(m.Dir, "vendor")) {
			return nil, nil
		}
		if err := m.download(ctx, required.Path); err != nil {
			return nil, err
		}
	}
	manifest, err := findManifest(dir)
	if err != nil || manifest == nil || !manifest.Resource {
		return nil, err
	}
	return packageOf(required, manifest)
}

func (m *goModule) download(ctx context.Context, path string) error {
	gobin, err := goCommand()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, gobin, "mod", "download", path)
	cmd.Dir = m.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("download module %q: %w\n%s", path, err, out)
	}
	return nil
}

// findManifest reads pulumi-plugin.json from the places SDK generators put it: the module's root, go/, and one
// folder below either. nil when there is none.
func findManifest(dir string) (*plugin.PulumiPluginJSON, error) {
	for _, pattern := range []string{"", "go", filepath.Join("go", "*"), "*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern, "pulumi-plugin.json"))
		if err != nil {
			return nil, fmt.Errorf("look for pulumi-plugin.json in %q: %w", dir, err)
		}
		for _, path := range paths {
			manifest, err := plugin.LoadPulumiPluginJSON(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", path, err)
			}
			return manifest, nil
		}
	}
	return nil, nil
}

// packageOf turns a manifest into the engine's form. Where the manifest has no name or version, the module's path
// (…/pulumi-<name>/sdk/…) and version stand in.
func packageOf(required module.Version, manifest *plugin.PulumiPluginJSON) (*pulumirpc.PackageDependency, error) {
	name, vers := manifest.Name, manifest.Version
	if name == "" {
		for _, element := range strings.Split(required.Path, "/") {
			if rest, ok := strings.CutPrefix(element, "pulumi-"); ok {
				name = rest
			}
		}
	}
	if name == "" {
		return nil, fmt.Errorf("module %q: its pulumi-plugin.json names no plugin, and neither does its path", required.Path)
	}
	if vers == "" && !module.IsPseudoVersion(required.Version) {
		vers = required.Version
	}
	return &pulumirpc.PackageDependency{
		Name: name, Version: vers, Kind: "resource", Server: manifest.Server,
		Parameterization: parameterization(manifest.Parameterization),
		Extension:        parameterization(manifest.ExtensionParameterization),
	}, nil
}

func parameterization(p *plugin.PulumiParameterizationJSON) *pulumirpc.PackageParameterization {
	if p == nil {
		return nil
	}
	return &pulumirpc.PackageParameterization{Name: p.Name, Version: p.Version, Value: p.Value}
}

// GetRequiredPlugins answers engines older than GetRequiredPackages with the same list.
func (h *host) GetRequiredPlugins(ctx context.Context, req *pulumirpc.GetRequiredPluginsRequest) (*pulumirpc.GetRequiredPluginsResponse, error) {
	packages, err := h.GetRequiredPackages(ctx, &pulumirpc.GetRequiredPackagesRequest{Info: req.GetInfo()})
	if err != nil {
		return nil, err
	}
	resp := &pulumirpc.GetRequiredPluginsResponse{}
	for _, p := range packages.GetPackages() {
		resp.Plugins = append(resp.Plugins, &pulumirpc.PluginDependency{Name: p.GetName(), Version: p.GetVersion(), Kind: p.GetKind(), Server: p.GetServer()})
	}
	return resp, nil
}

// GetProgramDependencies lists the modules go.mod requires, for `pulumi about`. A module replaced by a folder has no
// version.
func (h *host) GetProgramDependencies(ctx context.Context, req *pulumirpc.GetProgramDependenciesRequest) (*pulumirpc.GetProgramDependenciesResponse, error) {
	mod, err := loadModule(ctx, req.GetInfo().GetProgramDirectory())
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%v", err)
	}
	resp := &pulumirpc.GetProgramDependenciesResponse{}
	for _, r := range mod.File.Require {
		if r.Indirect && !req.GetTransitiveDependencies() {
			continue
		}
		resp.Dependencies = append(resp.Dependencies, &pulumirpc.DependencyInfo{Name: r.Mod.Path, Version: mod.replacement(r.Mod).Version})
	}
	return resp, nil
}
