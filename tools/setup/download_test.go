package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func release(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for name, body := range files {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(body)), Typeflag: tar.TypeReg}))
		_, err := archive.Write([]byte(body))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return out.Bytes()
}

// downloads serves a release as Pulumi's location does; sum "" means the right one.
func downloads(t *testing.T, body []byte, sum string) (base string) {
	t.Helper()
	archive := "pulumi-" + pulumiVersion + "-" + runtime.GOOS + "-" + releaseArch(runtime.GOARCH) + ".tar.gz"
	if sum == "" {
		right := sha256.Sum256(body)
		sum = hex.EncodeToString(right[:])
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sdk/"+archive, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	mux.HandleFunc("GET /sdk/pulumi-"+strings.TrimPrefix(pulumiVersion, "v")+"-checksums.txt", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("0", 64) + "  other.tar.gz\n" + sum + "  " + archive + "\n"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestOfficialDownload(t *testing.T) {
	s, said := newTestSetup(t, map[string]string{})
	s.downloads = downloads(t, release(t, map[string]string{"pulumi/pulumi": "cli", "pulumi/pulumi-language-go": "host", "../../evil": "x"}), "")
	require.NoError(t, s.pulumi(t.Context()))
	for name, want := range map[string]string{"pulumi": "cli", "pulumi-language-go": "host"} {
		body, err := os.ReadFile(filepath.Join(s.cache.bin(), name))
		require.NoError(t, err)
		require.Equal(t, want, string(body))
	}
	require.Contains(t, said.String(), "checksum verified")
	require.NoFileExists(t, filepath.Join(s.cache.root, "..", "evil"))

	s.downloads = "http://127.0.0.1:1"
	require.NoError(t, s.pulumi(t.Context()), "the second run asks nobody")
	require.Contains(t, said.String(), "using the official one")
}

func TestDownloadWithAWrongSumIsRefused(t *testing.T) {
	s, said := newTestSetup(t, map[string]string{})
	s.downloads = downloads(t, release(t, map[string]string{"pulumi/pulumi": "altered"}), strings.Repeat("a", 64))
	_, ok := s.downloadPulumi(t.Context())
	require.False(t, ok)
	require.Contains(t, said.String(), "its SHA-256 is")
	_, ready := s.cache.ready("pulumi-official", pulumiVersion+"-"+runtime.GOOS+"-"+runtime.GOARCH)
	require.False(t, ready, "nothing of it is kept")
}

func TestClosedNetworkIsNoNews(t *testing.T) {
	s, said := newTestSetup(t, map[string]string{})
	_, ok := s.downloadPulumi(t.Context())
	require.False(t, ok)
	require.Empty(t, said.String())
}

// installed makes a folder with a pulumi that says its version.
func installed(t *testing.T, version string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pulumi"), []byte("#!/bin/sh\necho "+version+"\n"), 0o755))
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755))
	}
	return dir
}

func TestInstalledPulumiIsPreferred(t *testing.T) {
	dir := installed(t, "v3.201.5", "pulumi-language-go")
	s, said := newTestSetup(t, map[string]string{"PATH": dir})
	require.NoError(t, s.cache.link("pulumi", "/built/earlier"))
	require.NoError(t, s.cache.link("pulumi-language-go", "/built/earlier"))
	require.NoError(t, s.pulumi(t.Context()))
	require.Contains(t, said.String(), "pulumi v3.201.5: using the official one ("+filepath.Join(dir, "pulumi")+")")
	require.NoFileExists(t, filepath.Join(s.cache.bin(), "pulumi"), "our link would hide it")
	require.NoFileExists(t, filepath.Join(s.cache.bin(), "pulumi-language-go"))
}

func TestInstalledPulumiThatIsTooOld(t *testing.T) {
	s, said := newTestSetup(t, map[string]string{"PATH": installed(t, "v3.199.9")})
	path, err := s.installedPulumi(t.Context())
	require.NoError(t, err)
	require.Empty(t, path)
	require.Contains(t, said.String(), "too old")
}

func TestOwnProgramsAreNotTheMachines(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	target := filepath.Join(s.cache.root, "tools", "x", "pulumi")
	require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
	require.NoError(t, os.WriteFile(target, []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, s.cache.link("pulumi", target))
	elsewhere := t.TempDir()
	require.NoError(t, os.Symlink(target, filepath.Join(elsewhere, "pulumi")))
	path := s.cache.bin() + ":" + elsewhere
	s.env = func(name string) string { return map[string]string{"PATH": path}[name] }
	_, ok := s.lookPath("pulumi")
	require.False(t, ok)
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"v3.200.0": true, "3.200.1": true, "v3.256.0-dev.1": true, "v4.0.0": true,
		"v3.199.9": false, "v2.300.0": false, "": false, "dev": false,
	} {
		require.Equal(t, want, atLeast(version, "v3.200.0"), version)
	}
}

func TestPluginFolders(t *testing.T) {
	s, said := newTestSetup(t, map[string]string{})
	dir := filepath.Join(s.home, "plugins", "resource-docker-"+dockerPluginVersion)
	built := filepath.Join(t.TempDir(), dockerPluginName)
	require.NoError(t, os.WriteFile(built, []byte("#!/bin/sh\n"), 0o755))

	for _, key := range []string{"k1", "k1", "k2"} {
		require.NoError(t, s.installOurPlugin(t.Context(), built, key, dir))
		state, err := pluginState(dir)
		require.NoError(t, err)
		require.Equal(t, pluginOurs, state)
	}
	entries, err := os.ReadDir(s.home)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing but plugins/ is left")

	// Somebody else's stays, whatever we have.
	require.NoError(t, os.Remove(filepath.Join(dir, ourMark)))
	require.NoError(t, s.dockerPlugin(t.Context()))
	require.Contains(t, said.String(), "using the official one")
	require.NoError(t, s.installOurPlugin(t.Context(), built, "k3", dir))
	require.NoFileExists(t, filepath.Join(dir, ourMark))

	// One whose installation was cut short is told, not guessed about.
	require.NoError(t, os.WriteFile(dir+".partial", nil, 0o644))
	var told *toldError
	require.ErrorAs(t, s.dockerPlugin(t.Context()), &told)
	require.Equal(t, keyPluginBlocked, told.key)
}

// TestPinnedVersionsAgree holds together what is pinned in more than one place.
func TestPinnedVersionsAgree(t *testing.T) {
	for _, gomod := range []string{"../go.mod", "../pulumi-resource-docker/go.mod"} {
		version, err := requiredVersion(gomod, "github.com/pulumi/pulumi/pkg/v3")
		require.NoError(t, err)
		require.Equal(t, pulumiVersion, version, gomod)
	}
	version, err := requiredVersion("../../go.mod", "github.com/pulumi/pulumi-docker/sdk/v4")
	require.NoError(t, err)
	require.Equal(t, dockerPluginVersion, version, "the plugin must be the SDK's")
	source, err := os.ReadFile("../pulumi-resource-docker/main.go")
	require.NoError(t, err)
	require.Contains(t, string(source), `const version = "`+strings.TrimPrefix(dockerPluginVersion, "v")+`"`)
}
