package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAllProblemsTogether(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "router.yaml", `
listen: nowhere
log_level: loud
tpyo: 1
database: {url: "postgres://u:p4ss@h/db", max_conns: 1, colour: red, password: inline}
evolution: {url: "ftp://evolution", api_key_file: /does/not/exist}
n8n: {url: ""}
turn: {deadline: soon, quiet: 5s, cap: 1s, lease: 1ms, history: 101, typing: -1s, media: -1s}
flows: {max_running: 0, trips: 0, rest: 0s}
hooks: {max_body_bytes: 0}
media: {max_bytes: 1000000000, tries: 0, timeout: 0s, hosts: ["minio.lab:9000", "http://minio.lab"]}
gate: {rate: -1, burst: 0, typing: {per_character: -1ms, min: -1s, max: 31s}}
channel: {poll: 1ms, sweep: 0s}
human: {phone_silence: 169h, greeting_window: 2m, foreign_sender: robot}
`)
	_, err := loadServe(sources{file: file, environ: []string{"ROUTER_TURN__KEY=short", "ROUTER_NOBODY=1", "PATH=/bin"}})
	require.True(t, isConfigError(err))
	for _, want := range []string{
		"listen:", "log_level:", "tpyo: unknown key", "database.url: holds a password", "database.max_conns:",
		"database.colour: unknown key", "database.password: a secret may not stand in the file", "evolution.url: scheme",
		"evolution.api_key_file:", "n8n.url: required", "n8n.token: required", "turn.key: has 5 bytes", "deadline",
		"media.max_bytes:", "media.tries:", "media.timeout:", `media.hosts: "http://minio.lab"`, "gate.rate:", "gate.burst:",
		"gate.typing.per_character:", "gate.typing.min:", "gate.typing.max:", "channel.poll:", "channel.sweep:",
		"turn.cap:", "turn.lease:", "turn.history: 101", "turn.typing:", "turn.media:", "flows.max_running:", "flows.trips:", "flows.rest:",
		"hooks.max_body_bytes:",
		"human.phone_silence:", "human.greeting_window:", "human.foreign_sender:", "instance_name: required", "nobody: unknown key",
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "p4ss")
	require.NotContains(t, err.Error(), "short")
}

func TestURLsTheStoresCannotUse(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://r@h/db?sslmode=perhaps":        "database.url: cannot parse",
		"postgres://r@h/db?password=s3cr3t":        "database.url: holds a password",
		"postgres://r@h:port/db":                   "database.url: cannot be read",
		"postgres://r@h/db?pool_max_conns=s3cr3t":  "database.url: ",
		"postgresql://r@h/db?connect_timeout=soon": "database.url: cannot parse",
	} {
		c := databaseConfig{URL: url, MaxConns: 2}
		var p problems
		c.validate(&p)
		require.Len(t, p, 1, url)
		require.Contains(t, p[0], want)
	}
	c := defaultServeConfig()
	c.Listen, c.Redis.URL = ":99999", "redis://h:6379/first"
	var p problems
	c.validate(&p)
	require.ErrorContains(t, p.err(), `listen: ":99999"`)
	require.ErrorContains(t, p.err(), "redis.url: ")
	p = nil
	good := databaseConfig{URL: "postgres:///db?host=/run/postgresql", MaxConns: 2}
	good.validate(&p)
	require.Empty(t, p)
}

func TestLayers(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "router.yaml", `
instance_name: file
log_level: debug
database: {url: "postgres://r@h/db"}
evolution: {url: "http://e"}
n8n: {url: "http://n", token_file: "`+writeFile(t, "token", "from-file\n")+`"}
turn: {deadline: 30s, quiet: 2s}
human: {greetings: ["Olá, tudo bem?", "Estamos fora"]}
`)
	c, err := loadServe(sources{
		file: file,
		environ: []string{"ROUTER_INSTANCE_NAME=env", "ROUTER_TURN__DEADLINE=45s", "ROUTER_EVOLUTION__API_KEY=k=v",
			"ROUTER_TURN__KEY=" + testTurnKey, "ROUTER_DATABASE__MAX_CONNS=5"},
		flags: map[string]string{"instance_name": "flag"},
	})
	require.NoError(t, err)
	require.Equal(t, "flag", c.InstanceName)
	require.Equal(t, "debug", c.LogLevel)
	require.Equal(t, 45*time.Second, c.Turn.Deadline)
	require.Equal(t, 2*time.Second, c.Turn.Quiet)
	require.Equal(t, 10*time.Second, c.Turn.Cap, "default")
	require.Equal(t, []string{"Olá, tudo bem?", "Estamos fora"}, c.Human.Greetings)
	require.EqualValues(t, 5, c.Database.MaxConns)
	require.Equal(t, "k=v", c.Evolution.APIKey.Reveal())
	require.Equal(t, "from-file", c.N8N.Token.Reveal())
}

func TestBadConfigEndsWithStatusTwo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"serve"},
		{"migrate"},
		{"wire"},
		{"serve", "--config", "/does/not/exist"},
		{"serve", "--config", writeFile(t, "broken.yaml", "a: [")},
		{"serve", "--nonsense"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitConfig, run(context.Background(), args, &stdout, &stderr), "%v: %s", args, &stderr)
		require.Empty(t, stdout.String())
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run(context.Background(), []string{"version"}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "router dev go1")
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	const value = "s3cr3t-value"
	s := NewSecret(value)
	c := serveConfig{Turn: turnConfig{Key: s}}
	var out bytes.Buffer
	for _, v := range []any{s, &s, c, &c, []Secret{s}, map[string]Secret{"k": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		data, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(data)
		data, err = yaml.Marshal(v)
		require.NoError(t, err)
		out.Write(data)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	require.NotContains(t, out.String(), value)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", value))
	require.Contains(t, out.String(), redacted)
	require.False(t, strings.Contains(out.String(), "115 51"), "no bytes either")
}
