package imagelock

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"plantao/cmd/plantao/text"
	"plantao/infra/upstream"
)

// shelf is an in-process registry and its host name.
func shelf(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// image is one with that configuration for an architecture.
func image(t *testing.T, architecture string, config v1.Config) v1.Image {
	t.Helper()
	base, err := random.Image(64, 1)
	require.NoError(t, err)
	made, err := mutate.ConfigFile(base, &v1.ConfigFile{OS: "linux", Architecture: architecture, Config: config, RootFS: must(base.ConfigFile()).RootFS})
	require.NoError(t, err)
	return made
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// push puts an index with the image for each architecture behind the tag, and an attestation beside.
func push(t *testing.T, ref string, config v1.Config, architectures ...string) v1.Hash {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, architecture := range append(architectures, "unknown") {
		system := "linux"
		if architecture == "unknown" {
			system = "unknown"
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image(t, architecture, config), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: system, Architecture: architecture}},
		})
	}
	tag, err := name.NewTag(ref)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(tag, index))
	return must(index.Digest())
}

var (
	now  = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	safe = []upstream.SafeVersion{{Component: "postgres", Records: []string{"CVE-2026-18408"}, Safe: []string{">=17.11 <18"}}}
)

func resolver(versions map[string]upstream.Version) Resolver {
	return Resolver{Versions: versions, Safe: safe, Now: func() time.Time { return now }}
}

func TestResolveReadsDigestAndReleaseFromTheImage(t *testing.T) {
	host := shelf(t)
	postgres := push(t, host+"/pgvector:0.8.2-pg17", v1.Config{Env: []string{"PATH=/bin", "PG_VERSION=17.11-1.pgdg12+1"}}, "amd64", "arm64")
	redis := push(t, host+"/redis:8.6.3-alpine", v1.Config{Env: []string{"REDIS_DOWNLOAD_URL=https://example.org/tags/8.6.3.tar.gz"}}, "amd64")
	push(t, host+"/n8n:2.42.1", v1.Config{Labels: map[string]string{versionLabel: "2.42.1"}}, "amd64", "arm64")
	push(t, host+"/chatwoot:v4.18.0-ce", v1.Config{Labels: map[string]string{versionLabel: "3.20 of its base"}}, "amd64")

	got, err := resolver(map[string]upstream.Version{
		"postgres": {Image: host + "/pgvector", Tag: "0.8.2-pg17", Version: "17.11"},
		"redis":    {Image: host + "/redis", Tag: "8.6.3-alpine", Version: "8.6.3"},
		"n8n":      {Image: host + "/n8n", Tag: "2.42.1", Version: "2.42.1"},
		"chatwoot": {Image: host + "/chatwoot", Tag: "v4.18.0-ce", Version: "4.18.0"},
	}).Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"chatwoot", "n8n", "postgres", "redis"}, got.Keys())

	require.Equal(t, postgres.String(), got["postgres"].Digest)
	require.Equal(t, "17.11", got["postgres"].Version)
	require.Equal(t, "env PG_VERSION", got["postgres"].VersionFrom)
	require.Len(t, got["postgres"].Platforms, 2)
	require.Contains(t, got["postgres"].Platforms, "linux/arm64")
	require.Equal(t, now, got["postgres"].LockedAt)

	require.Equal(t, redis.String(), got["redis"].Digest)
	require.Equal(t, "env REDIS_DOWNLOAD_URL", got["redis"].VersionFrom)
	require.Len(t, got["redis"].Platforms, 1)
	require.Equal(t, "label "+versionLabel, got["n8n"].VersionFrom)
	require.Equal(t, "versions.yaml", got["chatwoot"].VersionFrom)
	require.Equal(t, "4.18.0", got["chatwoot"].Version)
}

func TestResolveOfASinglePlatformImage(t *testing.T) {
	host := shelf(t)
	tag := must(name.NewTag(host + "/evolution:v2.3.7"))
	single := image(t, "amd64", v1.Config{Labels: map[string]string{"version": "2.3.7"}})
	require.NoError(t, remote.Write(tag, single))
	got, err := resolver(map[string]upstream.Version{"evolution": {Image: host + "/evolution", Tag: "v2.3.7", Version: "2.3.7"}}).Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"linux/amd64": must(single.Digest()).String()}, got["evolution"].Platforms)
	require.Equal(t, "label version", got["evolution"].VersionFrom)
}

// problems are the keys of the sentences of the problems found.
func problems(t *testing.T, versions map[string]upstream.Version) []text.Key {
	t.Helper()
	file, err := resolver(versions).Resolve(t.Context())
	require.Nil(t, file)
	var found Problems
	require.ErrorAs(t, err, &found)
	var keys []text.Key
	for _, problem := range found {
		var told *text.Error
		require.ErrorAs(t, problem, &told)
		require.NotContains(t, told.Error(), "%!")
		keys = append(keys, told.Message.Key)
	}
	return keys
}

func TestResolveRefuses(t *testing.T) {
	host := shelf(t)
	push(t, host+"/old:pg17", v1.Config{Env: []string{"PG_VERSION=17.10-1"}}, "amd64")
	push(t, host+"/other:pg17", v1.Config{Env: []string{"PG_VERSION=17.12-1"}}, "amd64")
	push(t, host+"/arm:pg17", v1.Config{Env: []string{"PG_VERSION=17.11-1"}}, "arm64")
	for name, c := range map[string]struct {
		version upstream.Version
		want    text.Key
	}{
		"an unsafe release":           {upstream.Version{Image: host + "/old", Tag: "pg17", Version: "17.11"}, text.LockUnsafe},
		"another release than pinned": {upstream.Version{Image: host + "/other", Tag: "pg17", Version: "17.11"}, text.LockNotAsPinned},
		"no image for amd64":          {upstream.Version{Image: host + "/arm", Tag: "pg17", Version: "17.11"}, text.LockNoPlatform},
		"a tag that is not there":     {upstream.Version{Image: host + "/old", Tag: "gone", Version: "17.11"}, text.LockNoSuchTag},
		"a reference that is none":    {upstream.Version{Image: host + "/UPPER", Tag: "x", Version: "17.11"}, text.LockBadReference},
		"an image that is not there":  {upstream.Version{Image: host + "/never", Tag: "pg17", Version: "17.11"}, text.LockNoSuchTag},
		"a reference without any tag": {upstream.Version{Image: host + "/old", Version: "17.11"}, text.LockBadReference},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, []text.Key{c.want}, problems(t, map[string]upstream.Version{"postgres": c.version}))
		})
	}
}

func TestEveryProblemIsToldButAbsentRegistriesOnce(t *testing.T) {
	host := shelf(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	away := listener.Addr().String()
	require.NoError(t, listener.Close())
	require.Equal(t, []text.Key{text.LockUnreachable, text.LockNoSuchTag}, problems(t, map[string]upstream.Version{
		"caddy":    {Image: away + "/caddy", Tag: "2", Version: "2.0.0"},
		"n8n":      {Image: away + "/n8n", Tag: "2", Version: "2.0.0"},
		"postgres": {Image: host + "/postgres", Tag: "17", Version: "17.11"},
	}))
}

func TestARegistryThatSaysNo(t *testing.T) {
	for status, want := range map[int]text.Key{
		http.StatusTooManyRequests: text.LockTooMany, http.StatusForbidden: text.LockRefused,
		http.StatusUnauthorized: text.LockRefused, http.StatusInternalServerError: text.LockUnreachable,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					w.WriteHeader(status)
				}
			}))
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			require.Equal(t, []text.Key{want}, problems(t, map[string]upstream.Version{"n8n": {Image: host + "/n8n", Tag: "2", Version: "2"}}))
		})
	}
}

func TestTheFileIsWrittenWholeAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.lock.yaml")
	none, err := Read(path)
	require.NoError(t, err)
	require.Empty(t, none)

	file := File{"redis": {Ref: "redis:8.6.3-alpine", Digest: "sha256:1", Version: "8.6.3", VersionFrom: "tag", Platforms: map[string]string{"linux/amd64": "sha256:2"}, LockedAt: now}}
	require.NoError(t, file.Write(path))
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(body), "# Written by"))
	got, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, file, got)

	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".images*"))
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file stays")

	require.NoError(t, os.WriteFile(path, []byte("redis:\n  ref: redis:8\n  colour: blue\n"), 0o644))
	_, err = Read(path)
	require.ErrorContains(t, err, "colour")
	require.NoError(t, os.WriteFile(path, []byte("# nothing yet\n"), 0o644))
	empty, err := Read(path)
	require.NoError(t, err)
	require.Empty(t, empty)
	require.Error(t, file.Write(filepath.Join(path, "below a file")))
}

// TestTheProgramReadsWhatWeWrite ties the file to the reader on the deploying side.
func TestTheProgramReadsWhatWeWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.lock.yaml")
	require.NoError(t, File{"redis": {Ref: "redis:8.6.3-alpine", Digest: "sha256:1"}}.Write(path))
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	var read map[string]upstream.Locked
	require.NoError(t, yaml.Unmarshal(body, &read))
	require.Equal(t, upstream.Locked{Ref: "redis:8.6.3-alpine", Digest: "sha256:1"}, read["redis"])
}

func TestKeepAndDifferences(t *testing.T) {
	entry := func(digest string, at time.Time) Entry {
		return Entry{Ref: "redis:8", Digest: digest, Version: "8.6.3", LockedAt: at}
	}
	old := File{"redis": entry("sha256:1", now), "gone": entry("sha256:9", now)}
	fresh := File{"redis": entry("sha256:1", now.Add(time.Hour)), "n8n": entry("sha256:2", now)}
	fresh.Keep(old)
	require.Equal(t, now, fresh["redis"].LockedAt)

	var keys []text.Key
	for _, m := range old.Differences(fresh) {
		keys = append(keys, m.Key)
	}
	require.Equal(t, []text.Key{text.LockMissing, text.LockExtra}, keys)
	require.Equal(t, text.LockMoved, File{"redis": entry("sha256:7", now)}.Differences(File{"redis": entry("sha256:1", now)})[0].Key)
	require.Empty(t, old.Differences(old))
}

func TestProblemsAreErrors(t *testing.T) {
	require.Equal(t, "a\nb", Problems{errors.New("a"), errors.New("b")}.Error())
}
