package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	defaultEngine = "unix:///var/run/docker.sock"
	// engineAnswer is what a running engine gets to answer; a busy one takes seconds.
	engineAnswer = 5 * time.Second
)

// foundEngine is a Docker Engine that answers.
type foundEngine struct {
	Host    string
	Version string
	Context string // name of the docker command's context it came from; "" for DOCKER_HOST and the default
}

// engineAddress is where an engine is looked for, and who says so.
type engineAddress struct {
	Host, From, Context string
}

// engine provides a Docker Engine: the one that runs, else one installed and started here.
func (s *setup) engine(ctx context.Context) error {
	found, err := s.findEngine(ctx)
	if err == nil {
		s.sayEngine(found)
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return userError(keyEngineDenied, err, s.engineAddress().Host, userName())
	}
	if address := s.engineAddress(); address.From != "" {
		return userError(keyEngineHostDown, err, address.Host, address.From, address.From)
	}
	system := readSystem()
	if !system.canInstall() {
		return userError(keyEngineNotOurs, nil, system.describe())
	}
	return s.startEngine(ctx, system)
}

func (s *setup) sayEngine(found foundEngine) {
	if found.Context != "" {
		s.report.say(keyEngineContext, found.Version, found.Context, found.Host)
		return
	}
	s.report.say(keyEngineRunning, found.Version, found.Host)
}

// engineAddress follows the docker command: DOCKER_HOST, DOCKER_CONTEXT, the current context, the default socket.
func (s *setup) engineAddress() engineAddress {
	if host := s.env("DOCKER_HOST"); host != "" {
		return engineAddress{Host: host, From: "DOCKER_HOST"}
	}
	dir := s.env("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return engineAddress{Host: defaultEngine}
		}
		dir = filepath.Join(home, ".docker")
	}
	name, from := s.env("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		var config struct {
			CurrentContext string `json:"currentContext"`
		}
		name, from = readJSON(filepath.Join(dir, "config.json"), &config, func() string { return config.CurrentContext }), "docker context"
	}
	if name == "" || name == "default" {
		return engineAddress{Host: defaultEngine}
	}
	sum := sha256.Sum256([]byte(name)) // how the docker command names a context's folder
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	host := readJSON(filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]), "meta.json"), &meta,
		func() string { return meta.Endpoints["docker"].Host })
	if host == "" {
		return engineAddress{Host: defaultEngine}
	}
	return engineAddress{Host: host, From: from, Context: name}
}

// readJSON fills a value from a file and picks from it; "" when the file is missing or broken.
func readJSON(path string, into any, pick func() string) string {
	body, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(body, into) != nil {
		return ""
	}
	return pick()
}

func (s *setup) findEngine(ctx context.Context) (foundEngine, error) {
	address := s.engineAddress()
	version, err := s.engineVersion(ctx, address.Host)
	if err != nil {
		return foundEngine{}, err
	}
	found := foundEngine{Host: address.Host, Version: version}
	if address.Context != "" {
		found.Context = address.Context
	}
	return found, nil
}

// engineVersion asks an engine for its version.
func (s *setup) engineVersion(ctx context.Context, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, engineAnswer)
	defer cancel()
	address, err := url.Parse(host)
	if err != nil {
		return "", fmt.Errorf("read the engine's address %q: %w", host, err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	base := "http://docker"
	switch address.Scheme {
	case "unix":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address.Path)
		}
	case "tcp", "http", "https":
		base = "http://" + address.Host
		if s.env("DOCKER_TLS_VERIFY") != "" || address.Scheme == "https" {
			base = "https://" + address.Host
			if transport.TLSClientConfig, err = s.engineTLS(); err != nil {
				return "", err
			}
		}
	default: // ssh and what later versions bring: the docker command knows how
		return engineVersionByCommand(ctx, host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/version", nil)
	if err != nil {
		return "", fmt.Errorf("ask the engine at %q: %w", host, err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the engine at %q: %w", host, err)
	}
	defer resp.Body.Close()
	var answer struct{ Version string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer.Version == "" {
		return "", fmt.Errorf("ask the engine at %q: answered %s without a version", host, resp.Status)
	}
	return answer.Version, nil
}

// engineTLS reads the docker command's certificates: ca.pem, cert.pem, key.pem in DOCKER_CERT_PATH or ~/.docker.
func (s *setup) engineTLS() (*tls.Config, error) {
	dir := s.env("DOCKER_CERT_PATH")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find the engine's certificates: %w", err)
		}
		dir = filepath.Join(home, ".docker")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err == nil {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(ca)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err == nil {
		config.Certificates = []tls.Certificate{pair}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the engine's client certificate: %w", err)
	}
	return config, nil
}

func engineVersionByCommand(ctx context.Context, host string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("ask the engine at %q: %w", host, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "$USER"
}

// system is what decides whether packages can be installed and services started here.
type system struct {
	Pretty  string // as /etc/os-release names it
	Debian  bool   // Debian, Ubuntu or one that says it is like them
	Root    bool
	Systemd bool // systemd is what runs services
}

func readSystem() system {
	sys := system{Pretty: runtime.GOOS, Root: os.Geteuid() == 0}
	if body, err := os.ReadFile("/etc/os-release"); err == nil {
		sys.Pretty, sys.Debian = parseOSRelease(string(body))
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		sys.Debian = false
	}
	// The folder exists exactly when systemd was booted (sd_booted(3)).
	if info, err := os.Stat("/run/systemd/system"); err == nil {
		sys.Systemd = info.IsDir()
	}
	return sys
}

// parseOSRelease reads os-release(5).
func parseOSRelease(body string) (pretty string, debian bool) {
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "PRETTY_NAME":
			pretty = value
		case "ID", "ID_LIKE":
			for _, id := range strings.Fields(value) {
				debian = debian || id == "debian" || id == "ubuntu"
			}
		}
	}
	return pretty, debian
}

func (sys system) canInstall() bool { return sys.Root && sys.Debian }

func (sys system) describe() string {
	if sys.Root {
		return sys.Pretty + ", root"
	}
	return sys.Pretty + ", " + userName()
}

// alive reports whether a process runs the program of that name: a pid alone may belong to another by now, or to a dead
// process that nobody has waited for (in a container without an init, for ever).
func alive(pid int, name string) bool {
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	// proc(5): pid (comm) state …; comm may hold blanks and parentheses.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), "(")
	end := strings.LastIndex(rest, ") ")
	return end >= 0 && rest[:end] == name && !strings.HasPrefix(rest[end+2:], "Z") && !strings.HasPrefix(rest[end+2:], "X")
}
