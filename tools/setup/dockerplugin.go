package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// dockerPluginVersion must be the one of the SDK the program imports: the engine takes no other.
	dockerPluginVersion = "v4.10.0"
	dockerPluginName    = "pulumi-resource-docker"
	// ourMark, in a plugin folder, says that this program made it, and from which key. A folder without is somebody
	// else's and stays as it is.
	ourMark = ".plantao"
)

// dockerPlugin provides Pulumi's Docker plugin in Pulumi's own plugin folder, where every `pulumi` of this user finds
// it without any setting. (One on PATH would be found too, but with a warning at each run; one beside the CLI would
// not, only language hosts are looked for there.)
func (s *setup) dockerPlugin(ctx context.Context) error {
	title := "docker plugin " + dockerPluginVersion
	dir := filepath.Join(s.home, "plugins", "resource-docker-"+dockerPluginVersion)
	state, err := pluginState(dir)
	if err != nil {
		return err
	}
	if state == pluginOfficial {
		s.report.say(keyOfficial, title, dir)
		return nil
	}
	if state == pluginMissing && s.installOfficialPlugin(ctx, title, dir) {
		return nil
	}
	path, key, err := s.builtDockerPlugin(ctx, title)
	if err != nil {
		return err
	}
	return s.installOurPlugin(ctx, path, key, dir)
}

type pluginPresence int

const (
	pluginMissing  pluginPresence = iota
	pluginOurs                    // made by this program; may be replaced by it
	pluginOfficial                // anybody else's
)

// pluginState looks at a plugin folder. Pulumi marks an installation under way by a file beside the folder and takes
// such a plugin for missing.
func pluginState(dir string) (pluginPresence, error) {
	if _, err := os.Stat(filepath.Join(dir, ourMark)); err == nil {
		return pluginOurs, nil
	}
	if _, err := os.Stat(dir + ".partial"); err == nil {
		return pluginMissing, userError(keyPluginBlocked, nil, dir+".partial")
	}
	if _, err := exec.LookPath(filepath.Join(dir, dockerPluginName)); err == nil {
		return pluginOfficial, nil
	}
	return pluginMissing, nil
}

// installOfficialPlugin has the CLI install its plugin when the download location answers.
func (s *setup) installOfficialPlugin(ctx context.Context, title, dir string) bool {
	pl, err := s.goPlatform(ctx)
	if err != nil {
		return false
	}
	// A built one in the cache means that the location did not answer before; asking again at every new Pulumi home
	// would cost the probe's time.
	if key, err := s.dockerPluginKey(ctx); err == nil {
		if _, ok := s.cache.ready(dockerPluginName, key); ok {
			return false
		}
	}
	if !answers(ctx, s.downloads+"/plugins/"+dockerPluginName+"-"+dockerPluginVersion+"-"+pl.OS+"-"+pl.Arch+".tar.gz") {
		return false
	}
	cli, ok := s.lookPath("pulumi")
	if !ok {
		cli = filepath.Join(s.cache.bin(), "pulumi")
	}
	start := time.Now()
	s.report.say(keyDownloading, title, s.downloads)
	ctx, cancel := context.WithTimeout(ctx, downloadTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, cli, "plugin", "install", "resource", "docker", dockerPluginVersion)
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=1")
	err = s.runLogged(cmd, dockerPluginName, func(cause error) error { return cause })
	if err != nil {
		s.report.say(keyDownloadFailed, title, err)
		_ = os.Remove(dir + ".partial")
		return false
	}
	s.report.say(keyDownloaded, title, elapsed(start), dir)
	return true
}

func (s *setup) builtDockerPlugin(ctx context.Context, title string) (path, key string, err error) {
	source := filepath.Join(s.tools, dockerPluginName)
	if key, err = s.dockerPluginKey(ctx); err != nil {
		return "", "", err
	}
	path, err = s.build(ctx, program{
		Name: dockerPluginName, Title: title, Key: key, About: "3 min", NeedMiB: 3000,
		Package: ".", Args: []string{"-tags=no_compose", "-ldflags=-s -w"},
		Prepare: func(ctx context.Context, dir string) (string, error) {
			return dir, preparePluginSource(ctx, source, dir)
		},
	})
	return path, key, err
}

func (s *setup) dockerPluginKey(ctx context.Context) (string, error) {
	pl, err := s.goPlatform(ctx)
	if err != nil {
		return "", err
	}
	return new(contentKey).text(pl.key()...).folder(filepath.Join(s.tools, dockerPluginName)).sum()
}

// upstream is upstream.json: the module the plugin is made of, and its checksum, because a module that is replaced by
// a folder is not checked against go.sum.
type upstream struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	Sum     string `json:"sum"`
}

// preparePluginSource makes dir a copy of the plugin's folder with the upstream module, and the shim in it, below.
func preparePluginSource(ctx context.Context, source, dir string) error {
	if err := copyFolder(source, dir); err != nil {
		return err
	}
	body, err := os.ReadFile(filepath.Join(source, "upstream.json"))
	if err != nil {
		return fmt.Errorf("read what the plugin is made of: %w", err)
	}
	var up upstream
	if err := json.Unmarshal(body, &up); err != nil {
		return fmt.Errorf("read upstream.json: %w", err)
	}
	module, err := downloadModule(ctx, filepath.Join(dir, "..", ".."), up)
	if err != nil {
		return err
	}
	if err := copyFolder(module, filepath.Join(dir, "upstream")); err != nil {
		return err
	}
	shim := filepath.Join(dir, "upstream", "shim")
	if err := os.MkdirAll(shim, 0o755); err != nil {
		return fmt.Errorf("make the shim's folder: %w", err)
	}
	return os.Rename(filepath.Join(dir, "shim.go.txt"), filepath.Join(shim, "shim.go"))
}

// downloadModule returns the folder of a module in Go's module cache.
func downloadModule(ctx context.Context, outside string, up upstream) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", up.Module+"@"+up.Version)
	// Outside any module: the plugin's go.mod replaces the module by the folder that is being made.
	cmd.Dir = outside
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil && err == nil {
		err = jsonErr
	}
	if got.Error != "" {
		err = errors.New(got.Error)
	}
	if err != nil {
		return "", fmt.Errorf("download module %s@%s: %w", up.Module, up.Version, err)
	}
	if got.Sum != up.Sum {
		return "", userError(keyModuleChanged, nil, up.Module+"@"+up.Version, got.Sum, up.Sum)
	}
	return got.Dir, nil
}

// copyFolder copies regular files; the module cache is read-only, the copy is not.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !entry.Type().IsRegular() || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy a source file: %w", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("copy a source file: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return fmt.Errorf("copy %q: %w", from, err)
	}
	return out.Close()
}

// installOurPlugin puts the built plugin into the plugin folder: the folder appears complete, by one rename. A folder
// of ours from another key is replaced; running plugins keep their open file.
func (s *setup) installOurPlugin(ctx context.Context, path, key, dir string) error {
	if mark, err := os.ReadFile(filepath.Join(dir, ourMark)); err == nil && string(mark) == key+"\n" && isProgram(filepath.Join(dir, dockerPluginName)) {
		return nil
	}
	unlock, err := s.cache.lock(ctx, "plugin-folder")
	if err != nil {
		return err
	}
	defer unlock()
	// Pulumi takes every folder in plugins/ named like a plugin for one, so the new folder is made outside it, on the
	// same disk for the rename.
	fresh, err := os.MkdirTemp(mkdirFor(s.home), ".plantao-plugin-")
	if err != nil {
		return fmt.Errorf("make the plugin's folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := place(path, filepath.Join(fresh, dockerPluginName)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(fresh, ourMark), []byte(key+"\n"), 0o644); err != nil {
		return fmt.Errorf("mark the plugin's folder: %w", err)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return fmt.Errorf("open the plugin's folder: %w", err)
	}
	mkdirFor(filepath.Dir(dir))
	state, err := pluginState(dir)
	if err != nil {
		return err
	}
	if state == pluginOfficial {
		return nil // installed while we were building
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the former plugin: %w", err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("put the plugin in place: %w", err)
	}
	return nil
}

// mkdirFor makes a folder and returns it; what is done in it next tells when it could not be made.
func mkdirFor(dir string) string {
	_ = os.MkdirAll(dir, 0o755)
	return dir
}

func isProgram(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}
