package imagelock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"plantao/cmd/plantao/text"
	"plantao/infra/upstream"
)

// platforms are those a stack may run on; every image must have the first.
var platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// perImage bounds all requests about one image.
const perImage = 30 * time.Second

// Resolver asks the registries.
type Resolver struct {
	// Versions are the pinned images by component key, Safe the safe-version table.
	Versions map[string]upstream.Version
	Safe     []upstream.SafeVersion
	// Options are added to every registry request; none are needed.
	Options []remote.Option
	// Now stamps new entries.
	Now func() time.Time
}

// Problems are all images that cannot be locked, each an error fit for people.
type Problems []error

// Error joins them by lines.
func (p Problems) Error() string { return errors.Join(p...).Error() }

// Resolve is the lock file as the registries have it now. It asks about all images and reports every
// problem at once, as [Problems]; registries that cannot be reached are one problem, not one per image.
func (r Resolver) Resolve(ctx context.Context) (File, error) {
	var (
		mu    sync.Mutex
		wait  sync.WaitGroup
		file  = File{}
		wrong = map[string]error{}
		slots = make(chan struct{}, 4)
	)
	for key, version := range r.Versions {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, perImage)
			defer cancel()
			entry, err := r.resolve(ctx, key, version)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wrong[key] = err
				return
			}
			file[key] = entry
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if problems := collect(wrong); len(problems) > 0 {
		return nil, problems
	}
	return file, nil
}

func collect(wrong map[string]error) Problems {
	keys := make([]string, 0, len(wrong))
	for key := range wrong {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var problems Problems
	unreachable := false
	for _, key := range keys {
		var told *text.Error
		if errors.As(wrong[key], &told) && told.Message.Key == text.LockUnreachable {
			if unreachable {
				continue
			}
			unreachable = true
		}
		problems = append(problems, wrong[key])
	}
	return problems
}

func (r Resolver) resolve(ctx context.Context, key string, version upstream.Version) (Entry, error) {
	ref, err := name.NewTag(version.Ref())
	if err == nil && version.Tag == "" {
		err = errors.New("there is no tag")
	}
	if err != nil {
		return Entry{}, text.Because(err, text.LockBadReference, version.Ref(), key)
	}
	options := append([]remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(platforms[0]),
		remote.WithRetryBackoff(remote.Backoff{Duration: 300 * time.Millisecond, Factor: 2, Steps: 2}),
	}, r.Options...)
	found, err := remote.Get(ref, options...)
	if err != nil {
		return Entry{}, asked(err, version.Ref(), ref.RegistryStr())
	}
	digests, err := byPlatform(found)
	if err != nil {
		return Entry{}, asked(err, version.Ref(), ref.RegistryStr())
	}
	if digests[platforms[0].String()] == "" {
		return Entry{}, text.Fail(text.LockNoPlatform, version.Ref(), platforms[0].String())
	}
	config, err := configOf(found)
	if err != nil {
		return Entry{}, asked(err, version.Ref(), ref.RegistryStr())
	}
	seen, from := release(key, version, config)
	if err := r.judge(key, version, seen, from); err != nil {
		return Entry{}, err
	}
	return Entry{
		Ref: version.Ref(), Digest: found.Digest.String(), Version: seen, VersionFrom: from,
		Platforms: digests, LockedAt: r.Now().UTC().Truncate(time.Second),
	}, nil
}

// asked tells a registry that said no from one that did not answer.
func asked(err error, ref, registry string) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return text.Because(err, text.LockUnreachable, registry)
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return text.Fail(text.LockNoSuchTag, ref)
	case http.StatusTooManyRequests:
		return text.Fail(text.LockTooMany, registry)
	case http.StatusUnauthorized, http.StatusForbidden:
		return text.Fail(text.LockRefused, ref, registry)
	}
	return text.Because(err, text.LockUnreachable, registry)
}

// byPlatform are the digests of the platforms we know; attestations beside them are left out.
func byPlatform(found *remote.Descriptor) (map[string]string, error) {
	digests := map[string]string{}
	if !found.MediaType.IsIndex() {
		image, err := found.Image()
		if err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		digests[config.OS+"/"+config.Architecture] = found.Digest.String()
		return digests, nil
	}
	index, err := found.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, one := range manifest.Manifests {
		for _, wanted := range platforms {
			if one.Platform != nil && one.Platform.OS == wanted.OS && one.Platform.Architecture == wanted.Architecture {
				digests[wanted.String()] = one.Digest.String()
			}
		}
	}
	return digests, nil
}

func configOf(found *remote.Descriptor) (*v1.ConfigFile, error) {
	image, err := found.Image()
	if err != nil {
		return nil, err
	}
	return image.ConfigFile()
}

// sources are where each upstream image says its release, most trusted first. The general label is
// not believed everywhere: an image inherits it from its base, where it is the base's release.
var sources = map[string][]string{
	"postgres":   {"env PG_VERSION"},
	"redis":      {"env REDIS_VERSION", "env REDIS_DOWNLOAD_URL"},
	"caddy":      {"env CADDY_VERSION", "label " + versionLabel},
	"n8n":        {"env N8N_VERSION", "label " + versionLabel},
	"n8n-runner": {"label " + versionLabel},
	"evolution":  {"label version"},
}

const versionLabel = "org.opencontainers.image.version"

// releasePattern finds "17.11" in "17.11-1.pgdg12+1", in "v17.11" and in a download address.
var releasePattern = regexp.MustCompile(`\d+(?:\.\d+)+(?:-(?:rc|beta|alpha|exp)[.\d]*)?`)

// release is the version inside the image and what said so. Where the image says nothing, it is what
// versions.yaml says the tag contains.
func release(key string, version upstream.Version, config *v1.ConfigFile) (seen, from string) {
	for _, source := range sources[key] {
		kind, field, _ := strings.Cut(source, " ")
		if found := releasePattern.FindString(value(config, kind, field)); found != "" {
			return found, source
		}
	}
	return version.Version, "versions.yaml"
}

func value(config *v1.ConfigFile, kind, field string) string {
	if kind == "label" {
		return config.Config.Labels[field]
	}
	for _, pair := range config.Config.Env {
		if value, ok := strings.CutPrefix(pair, field+"="); ok {
			return value
		}
	}
	return ""
}

// judge refuses an image that holds another release than versions.yaml says, or an unsafe one.
func (r Resolver) judge(key string, version upstream.Version, seen, from string) error {
	for _, safe := range r.Safe {
		if safe.Component != key {
			continue
		}
		ok, err := safe.Allows(seen)
		if err != nil {
			return fmt.Errorf("judge the version of %s: %w", version.Ref(), err)
		}
		if !ok {
			return text.Fail(text.LockUnsafe, version.Ref(), seen, from, strings.Join(safe.Safe, " | "), strings.Join(safe.Records, ", "))
		}
	}
	if seen != version.Version {
		return text.Fail(text.LockNotAsPinned, version.Ref(), seen, from, version.Version)
	}
	return nil
}
