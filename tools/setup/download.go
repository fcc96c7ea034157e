package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// pulumiDownloads is where Pulumi's own installer takes releases from.
	pulumiDownloads = "https://get.pulumi.com/releases"
	// probeTime is what a download location gets to answer; a closed network must not hold anybody up.
	probeTime = 3 * time.Second
	// downloadTime is what a download gets; building takes about as long.
	downloadTime = 3 * time.Minute
	// maxDownload bounds what is unpacked (bytes), far above any release.
	maxDownload = 2 << 30
)

// answers reports whether a URL answers with its content within probeTime.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	body, err := get(ctx, url)
	if err != nil {
		return false
	}
	_ = body.Close()
	return true
}

// downloadPulumi provides the official release in the cache. ok is false when it cannot be had here; that is told
// only when the download location answered, since a closed network is nothing to complain about.
func (s *setup) downloadPulumi(ctx context.Context) (dir string, ok bool) {
	pl, err := s.goPlatform(ctx)
	if err != nil {
		return "", false
	}
	title := "pulumi " + pulumiVersion
	key := pulumiVersion + "-" + pl.OS + "-" + pl.Arch
	if dir, ok := s.cache.ready("pulumi-official", key); ok {
		s.report.say(keyOfficial, title, dir)
		return dir, true
	}
	if s.cacheHasBuiltPulumi(ctx) {
		return "", false // asking again at every run would cost the probe's time where nothing answers
	}
	base := s.downloads
	archive := "pulumi-" + pulumiVersion + "-" + pl.OS + "-" + releaseArch(pl.Arch) + ".tar.gz"
	sums := base + "/sdk/pulumi-" + strings.TrimPrefix(pulumiVersion, "v") + "-checksums.txt"
	if !answers(ctx, sums) {
		return "", false
	}
	start := time.Now()
	s.report.say(keyDownloading, title, base)
	dir, _, err = s.cache.make(ctx, "pulumi-official", key, func(dir string) error {
		ctx, cancel := context.WithTimeout(ctx, downloadTime)
		defer cancel()
		return fetchRelease(ctx, base+"/sdk/"+archive, sums, dir)
	})
	if err != nil {
		s.report.say(keyDownloadFailed, title, err)
		return "", false
	}
	s.report.say(keyDownloaded, title, elapsed(start), dir)
	return dir, true
}

// cacheHasBuiltPulumi reports whether the built CLI of this version is in the cache.
func (s *setup) cacheHasBuiltPulumi(ctx context.Context) bool {
	target, err := os.Readlink(filepath.Join(s.cache.bin(), "pulumi"))
	if err != nil || !strings.HasPrefix(target, filepath.Join(s.cache.root, "tools", "pulumi-toolchain")+string(filepath.Separator)) {
		return false
	}
	version, err := s.versionOf(ctx, target)
	return err == nil && version == pulumiVersion
}

// releaseArch is Go's architecture as Pulumi's CLI archives spell it.
func releaseArch(arch string) string {
	if arch == "amd64" {
		return "x64"
	}
	return arch
}

// fetchRelease downloads an archive, checks it against the published list of SHA-256 sums, and unpacks its programs
// into dir.
func fetchRelease(ctx context.Context, url, sumsURL, dir string) error {
	want, err := publishedSum(ctx, sumsURL, url[strings.LastIndexByte(url, '/')+1:])
	if err != nil {
		return err
	}
	body, err := get(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	temp, err := os.CreateTemp(dir, ".download-")
	if err != nil {
		return fmt.Errorf("make a file for the download: %w", err)
	}
	defer func() { _ = temp.Close(); _ = os.Remove(temp.Name()) }()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(temp, hash), body); err != nil {
		return fmt.Errorf("download %q: %w", url, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("download %q: its SHA-256 is %s, published is %s", url, got, want)
	}
	if _, err := temp.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the download: %w", err)
	}
	return unpack(temp, dir)
}

// publishedSum finds a file's sum in a list as sha256sum writes it.
func publishedSum(ctx context.Context, url, name string) (string, error) {
	body, err := get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if sum, file, ok := strings.Cut(lines.Text(), " "); ok && strings.TrimLeft(file, " *./") == name && len(sum) == 64 {
			return strings.ToLower(sum), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("read %q: %w", url, err)
	}
	return "", fmt.Errorf("read %q: no sum for %q", url, name)
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("download %q: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("download %q: answered %s", url, resp.Status)
	}
	return resp.Body, nil
}

// unpack writes the regular files of a .tar.gz flat into dir: releases hold programs in one folder, and a name that
// leads elsewhere cannot get out.
func unpack(r io.Reader, dir string) error {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(zipped, maxDownload))
	found := false
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := filepath.Base(header.Name)
		if name == "." || name == string(filepath.Separator) || strings.HasPrefix(name, ".") {
			continue
		}
		if err := writeProgram(filepath.Join(dir, name), archive); err != nil {
			return err
		}
		found = true
	}
	if !found {
		return errors.New("unpack: the archive holds no file")
	}
	return nil
}

func writeProgram(path string, from io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if _, err := io.Copy(out, from); err != nil { //nolint:gosec // bounded by maxDownload
		_ = out.Close()
		return fmt.Errorf("unpack %q: %w", path, err)
	}
	return out.Close()
}
