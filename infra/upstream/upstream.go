// Package upstream says which releases of others' software a stack runs, which releases are safe, and
// which digests stand behind the tags. It is data and its reading, a leaf: the program, the policies and
// the operator's CLI all ask here.
package upstream

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
	"gopkg.in/yaml.v3"
)

//go:embed versions.yaml
var versionsYAML []byte

//go:embed safe_versions.yaml
var safeVersionsYAML []byte

//go:embed images.lock.yaml
var lockYAML []byte

// Version is one upstream image as pinned in versions.yaml.
type Version struct {
	// Image is the repository without a tag, as the registry spells it ("n8nio/n8n").
	Image string `yaml:"image"`
	// Tag is exact; never a moving one such as "latest" or "stable".
	Tag string `yaml:"tag"`
	// Version is the release the tag contains ("17.11" for tag "0.8.2-pg17").
	Version string `yaml:"version"`
}

// Ref is the reference to pull: "image:tag".
func (v Version) Ref() string { return v.Image + ":" + v.Tag }

// SafeVersion says which versions of a component are safe, and which records say so.
type SafeVersion struct {
	// Component is a key of [Versions].
	Component string `yaml:"component"`
	// Records are the advisories behind the ranges.
	Records []string `yaml:"records"`
	// Safe are version ranges (semver constraints); a version inside any of them is safe.
	Safe []string `yaml:"safe"`
}

// Allows reports whether version (such as "17.11" or "8.6.3") lies inside one of the safe ranges.
// The error names a range or version that cannot be read.
func (s SafeVersion) Allows(version string) (bool, error) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return false, fmt.Errorf("read version %q of %s: %w", version, s.Component, err)
	}
	for _, r := range s.Safe {
		// The file joins comparisons by a space, as people write them; the library wants a comma.
		c, err := semver.NewConstraint(strings.ReplaceAll(r, " ", ", "))
		if err != nil {
			return false, fmt.Errorf("read safe range %q of %s: %w", r, s.Component, err)
		}
		if c.Check(v) {
			return true, nil
		}
	}
	return false, nil
}

// Versions are the pinned upstream images by key: postgres, redis, n8n, n8n-runner, chatwoot,
// evolution, caddy.
func Versions() (map[string]Version, error) {
	var m map[string]Version
	if err := yaml.Unmarshal(versionsYAML, &m); err != nil {
		return nil, fmt.Errorf("read versions.yaml: %w", err)
	}
	return m, nil
}

// SafeVersions is the safe-version table.
func SafeVersions() ([]SafeVersion, error) {
	var s []SafeVersion
	if err := yaml.Unmarshal(safeVersionsYAML, &s); err != nil {
		return nil, fmt.Errorf("read safe_versions.yaml: %w", err)
	}
	return s, nil
}

// Locked is one entry of images.lock.yaml.
type Locked struct {
	// Ref is what was asked ("redis:8.6.3-alpine"); an entry for another ref than versions.yaml's is stale.
	Ref string `yaml:"ref"`
	// Digest of the multi-platform index, "sha256:…".
	Digest string `yaml:"digest"`
}

// Lock is images.lock.yaml by key; empty until a registry could be asked.
func Lock() (map[string]Locked, error) {
	var m map[string]Locked
	if err := yaml.Unmarshal(lockYAML, &m); err != nil {
		return nil, fmt.Errorf("read images.lock.yaml: %w", err)
	}
	return m, nil
}
