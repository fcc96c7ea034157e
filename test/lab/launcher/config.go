package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// config is the launcher's own configuration, read from the official variable names.
type config struct {
	// brokerURL is N8N_RUNNERS_TASK_BROKER_URI, without a trailing slash (default http://127.0.0.1:5679).
	brokerURL string
	// authToken is N8N_RUNNERS_AUTH_TOKEN; required.
	authToken string
	// healthPort is N8N_RUNNERS_LAUNCHER_HEALTH_CHECK_PORT (default 5680).
	healthPort string
	// runnerHealthHost is where a runner's own health server answers: N8N_RUNNERS_HEALTH_CHECK_SERVER_HOST
	// (default 127.0.0.1).
	runnerHealthHost string
	// idleSeconds is N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT (default 15; 0 never ends an idle runner).
	idleSeconds string
	// taskSeconds is N8N_RUNNERS_TASK_TIMEOUT (default 60).
	taskSeconds string
	// logLevel is N8N_RUNNERS_LAUNCHER_LOG_LEVEL (default info).
	logLevel slog.Level
	// runners are the entries for the types named on the command line, in that order.
	runners []runner
	// environ is what the process was started with, in the form of [os.Environ].
	environ []string
}

// runner is one entry of the config file's "task-runners".
type runner struct {
	Type         string            `json:"runner-type"`
	WorkDir      string            `json:"workdir"`
	Command      string            `json:"command"`
	Args         []string          `json:"args"`
	HealthPort   string            `json:"health-check-server-port"`
	AllowedEnv   []string          `json:"allowed-env"`
	EnvOverrides map[string]string `json:"env-overrides"`
}

// variables looks names up in an environment, following NAME_FILE first.
type variables struct {
	environ map[string]string
	errs    []error
}

func (v *variables) get(name, fallback string) string {
	if path, ok := v.environ[name+"_FILE"]; ok {
		b, err := os.ReadFile(path)
		if err != nil {
			v.errs = append(v.errs, fmt.Errorf("read %s_FILE: %w", name, err))
			return ""
		}
		return strings.TrimRight(string(b), "\r\n")
	}
	if s := v.environ[name]; s != "" {
		return s
	}
	return fallback
}

// loadConfig reads the configuration for the runner types in args; the error joins every problem found.
func loadConfig(args, environ []string) (*config, error) {
	v := &variables{environ: map[string]string{}}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			v.environ[name] = value
		}
	}
	cfg := &config{
		brokerURL:        strings.TrimRight(v.get("N8N_RUNNERS_TASK_BROKER_URI", "http://127.0.0.1:5679"), "/"),
		authToken:        v.get("N8N_RUNNERS_AUTH_TOKEN", ""),
		healthPort:       v.get("N8N_RUNNERS_LAUNCHER_HEALTH_CHECK_PORT", "5680"),
		runnerHealthHost: v.get("N8N_RUNNERS_HEALTH_CHECK_SERVER_HOST", "127.0.0.1"),
		idleSeconds:      v.get("N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT", "15"),
		taskSeconds:      v.get("N8N_RUNNERS_TASK_TIMEOUT", "60"),
		environ:          environ,
	}
	errs := v.errs
	if cfg.authToken == "" {
		errs = append(errs, errors.New("set N8N_RUNNERS_AUTH_TOKEN (or _FILE) to the token n8n was started with"))
	}
	if u, err := url.Parse(cfg.brokerURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		errs = append(errs, fmt.Errorf("N8N_RUNNERS_TASK_BROKER_URI %q is not an http URL such as http://n8n:5679", cfg.brokerURL))
	}
	if !validPort(cfg.healthPort) {
		errs = append(errs, fmt.Errorf("N8N_RUNNERS_LAUNCHER_HEALTH_CHECK_PORT %q is not a port number", cfg.healthPort))
	}
	if n, err := strconv.Atoi(cfg.idleSeconds); err != nil || n < 0 {
		errs = append(errs, fmt.Errorf("N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT %q is not a number of seconds", cfg.idleSeconds))
	}
	level := v.get("N8N_RUNNERS_LAUNCHER_LOG_LEVEL", "info")
	if err := cfg.logLevel.UnmarshalText([]byte(level)); err != nil {
		errs = append(errs, fmt.Errorf("N8N_RUNNERS_LAUNCHER_LOG_LEVEL %q is none of debug, info, warn, error", level))
	}
	var err error
	if cfg.runners, err = loadRunners(v.get("N8N_RUNNERS_CONFIG_PATH", "/etc/n8n-task-runners.json"), args); err != nil {
		errs = append(errs, err)
	}
	return cfg, errors.Join(errs...)
}

// loadRunners returns the entries of the file at path for the wanted types.
func loadRunners(path string, wanted []string) ([]runner, error) {
	if len(wanted) == 0 {
		return nil, errors.New("name at least one runner type, such as javascript")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read runner config: %w", err)
	}
	var file struct {
		Runners []runner `json:"task-runners"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("parse runner config %s: %w", path, err)
	}
	var found []runner
	ports := map[string]string{"5678": "n8n", "5679": "n8n's task broker", "5680": "the launcher"}
	for _, name := range wanted {
		i := slices.IndexFunc(file.Runners, func(r runner) bool { return r.Type == name })
		if i < 0 {
			return nil, fmt.Errorf("runner config %s has no runner of type %q", path, name)
		}
		r := file.Runners[i]
		if r.HealthPort == "" && len(wanted) == 1 {
			r.HealthPort = "5681"
		}
		if !validPort(r.HealthPort) {
			return nil, fmt.Errorf("runner %s: health-check-server-port %q is not a port number", name, r.HealthPort)
		}
		if owner, taken := ports[r.HealthPort]; taken {
			return nil, fmt.Errorf("runner %s: health-check-server-port %s is used by %s", name, r.HealthPort, owner)
		}
		ports[r.HealthPort] = "runner " + name
		found = append(found, r)
	}
	return found, nil
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 65536
}

// runnerEnv is the environment of one runner process: the launcher's own variables that the entry
// allows, the overrides, and last what the launcher decides, which no entry can change.
func (c *config) runnerEnv(r runner, grantToken string) []string {
	env := map[string]string{
		"N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT": c.idleSeconds,
		"N8N_RUNNERS_TASK_TIMEOUT":          c.taskSeconds,
	}
	allowed := append([]string{"LANG", "PATH", "TZ", "TERM"}, r.AllowedEnv...)
	for _, kv := range c.environ {
		if name, value, ok := strings.Cut(kv, "="); ok && slices.Contains(allowed, name) {
			env[name] = value
		}
	}
	for name, value := range r.EnvOverrides {
		env[name] = value
	}
	env["N8N_RUNNERS_TASK_BROKER_URI"] = c.brokerURL
	env["N8N_RUNNERS_GRANT_TOKEN"] = grantToken
	env["N8N_RUNNERS_HEALTH_CHECK_SERVER_ENABLED"] = "true"
	env["N8N_RUNNERS_HEALTH_CHECK_SERVER_PORT"] = r.HealthPort
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}
