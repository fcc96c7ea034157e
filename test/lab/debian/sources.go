// Package debian makes the base image's root file system: Debian's minimal system by debootstrap.
package debian

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Release is the Debian release every lab image stands on.
const Release = "bookworm"

// Sources is where packages come from.
type Sources struct {
	// Mirror is the archive debootstrap reads; empty: debootstrap's own default.
	Mirror string
	// Lines is the image's sources.list, one line each; empty: what debootstrap writes.
	Lines []string
}

// source is one archive of the machine's own apt configuration.
type source struct {
	uri, suite string
	main       bool
}

// FindSources reads the apt configuration below etc ("/etc"). Archives of the machine's own release are
// carried over to [Release] (main, -updates, -security): a machine that reaches a mirror for itself reaches it
// for the images. A machine that is not Debian has none; then both fields are empty.
func FindSources(etc string) (Sources, error) {
	codename, err := debianCodename(filepath.Join(etc, "os-release"))
	if err != nil || codename == "" {
		return Sources{}, err
	}
	configured, err := readSources(filepath.Join(etc, "apt"))
	if err != nil {
		return Sources{}, err
	}
	var found Sources
	for _, suffix := range []string{"", "-updates", "-security"} {
		for _, s := range configured {
			if s.suite != codename+suffix || !s.main || !usable(s.uri) {
				continue
			}
			if suffix == "" && found.Mirror == "" {
				found.Mirror = s.uri
			}
			line := fmt.Sprintf("deb %s %s%s main", s.uri, Release, suffix)
			if !slices.Contains(found.Lines, line) {
				found.Lines = append(found.Lines, line)
			}
		}
	}
	if found.Mirror == "" {
		return Sources{}, nil
	}
	return found, nil
}

// usable reports whether an image can use the archive: reached over the network, and without a
// password, which would end in the image for everybody to read.
func usable(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil
}

func debianCodename(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read operating system name: %w", err)
	}
	fields := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if k, v, ok := strings.Cut(line, "="); ok {
			fields[strings.TrimSpace(k)] = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	if fields["ID"] != "debian" {
		return "", nil
	}
	return fields["VERSION_CODENAME"], nil
}

func readSources(apt string) ([]source, error) {
	paths, err := filepath.Glob(filepath.Join(apt, "sources.list.d", "*"))
	if err != nil {
		return nil, fmt.Errorf("list apt sources: %w", err)
	}
	sort.Strings(paths)
	paths = append([]string{filepath.Join(apt, "sources.list")}, paths...)
	var all []source
	for _, p := range paths {
		parse := parseList
		switch filepath.Ext(p) {
		case ".list":
		case ".sources":
			parse = parseDeb822
		default:
			continue
		}
		text, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read apt sources: %w", err)
		}
		all = append(all, parse(string(text))...)
	}
	return all, nil
}

// parseList reads one-line entries (sources.list(5)): deb [options] uri suite component…
func parseList(text string) []source {
	var all []source
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "deb" {
			continue
		}
		words = words[1:]
		if len(words) > 0 && strings.HasPrefix(words[0], "[") {
			end := slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(w, "]") })
			words = words[end+1:]
		}
		if len(words) >= 3 {
			all = append(all, source{uri: trimURI(words[0]), suite: words[1], main: slices.Contains(words[2:], "main")})
		}
	}
	return all
}

// parseDeb822 reads stanzas (sources.list(5), "DEB822-STYLE FORMAT").
func parseDeb822(text string) []source {
	var all []source
	stanza, last := map[string]string{}, ""
	flush := func() {
		if slices.Contains(strings.Fields(stanza["types"]), "deb") && stanza["enabled"] != "no" {
			for _, uri := range strings.Fields(stanza["uris"]) {
				for _, suite := range strings.Fields(stanza["suites"]) {
					main := slices.Contains(strings.Fields(stanza["components"]), "main")
					all = append(all, source{uri: trimURI(uri), suite: suite, main: main})
				}
			}
		}
		stanza, last = map[string]string{}, ""
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case (line[0] == ' ' || line[0] == '\t') && last != "":
			stanza[last] += " " + strings.TrimSpace(line)
		default:
			k, v, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(k))
			stanza[last] = strings.TrimSpace(v)
		}
	}
	flush()
	return all
}

func trimURI(uri string) string { return strings.TrimRight(uri, "/") }
