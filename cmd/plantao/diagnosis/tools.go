package diagnosis

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"plantao/cmd/plantao/text"
)

// plugins are what a Pulumi run of the program needs besides the CLI.
var plugins = []string{"pulumi-language-go", "pulumi-resource-docker", "pulumi-resource-plantao"}

func (m *Machine) pulumi(context.Context) Finding {
	cli, err := m.LookPath("pulumi")
	if err != nil {
		return fail(text.New(text.PulumiMissing), text.New(text.SetupFix))
	}
	var missing []string
	for _, plugin := range plugins {
		if !m.hasPlugin(plugin, filepath.Dir(cli)) {
			missing = append(missing, plugin)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return fail(text.New(text.PulumiPlugins, strings.Join(missing, ", ")), text.New(text.SetupFix))
	}
	return ok(text.New(text.PulumiFound, cli))
}

// hasPlugin looks where the engine does: on PATH, beside the CLI, among the installed plugins
// (resource-docker-v4.10.0/), and for our own provider in the project's bin.
func (m *Machine) hasPlugin(plugin, beside string) bool {
	if _, err := m.LookPath(plugin); err == nil {
		return true
	}
	kind := strings.TrimPrefix(plugin, "pulumi-")
	for _, pattern := range []string{
		filepath.Join(beside, plugin), filepath.Join(m.PulumiHome, "plugins", kind+"-v*", plugin), filepath.Join(m.Project, "bin", plugin),
	} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return true
		}
	}
	return false
}

func (m *Machine) passphrase(context.Context) Finding {
	if m.Getenv("PULUMI_CONFIG_PASSPHRASE") != "" {
		return ok(text.New(text.PassphraseEnv, "PULUMI_CONFIG_PASSPHRASE"))
	}
	path, from := m.Getenv("PULUMI_CONFIG_PASSPHRASE_FILE"), "PULUMI_CONFIG_PASSPHRASE_FILE"
	if path == "" || path == m.Passphrase { // `make` names the default file
		path, from = m.Passphrase, ""
	}
	stat, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && from != "":
		return fail(text.New(text.PassphraseFileGone, from, path), text.New(text.PassphraseFileFix))
	case errors.Is(err, fs.ErrNotExist):
		return fail(text.New(text.PassphraseMissing, path), text.New(text.PassphraseFix))
	case err != nil:
		return fail(text.New(text.LookFailed, err), text.New(text.PassphraseFileFix))
	case stat.Size() == 0:
		return fail(text.New(text.PassphraseEmpty, path), text.New(text.PassphraseFileFix))
	case stat.Mode().Perm()&0o077 != 0:
		return warn(text.New(text.PassphraseOpen, path, stat.Mode().Perm().String()), text.New(text.PassphraseOpenFix, path))
	}
	return ok(text.New(text.PassphraseFile, path))
}

// services looks for the database servers that the tests start. Debian keeps PostgreSQL's off PATH.
func (m *Machine) services(context.Context) Finding {
	var missing []string
	if _, err := m.LookPath("postgres"); err != nil {
		if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(found) == 0 {
			missing = append(missing, "postgres")
		}
	}
	if _, err := m.LookPath("redis-server"); err != nil {
		missing = append(missing, "redis-server")
	}
	if len(missing) > 0 {
		return warn(text.New(text.ServicesMissing, strings.Join(missing, ", ")), text.New(text.ServicesFix))
	}
	return ok(text.New(text.ServicesFound))
}
