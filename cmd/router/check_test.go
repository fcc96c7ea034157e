package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/invariant"
	"plantao/runtime/postgres/postgrestest"
)

// databaseConfigFile is all that `router check` and `router simulate` need.
func databaseConfigFile(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "router.yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "database: {url: %q}\n", url), 0o600))
	return path
}

// router runs the command in this process.
func routerCommand(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), args, &out, &err)
	return status, out.String(), err.String()
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	require.Equal(t, 200, r.post(upsert("A1", testCustomer, "oi")).status)
	b.settled()
	config := databaseConfigFile(t, b.db.URL)

	status, out, errs := routerCommand(t, "check", "--config", config, "--skip", "I-RYW")
	require.Equal(t, exitOK, status, errs)
	require.Empty(t, errs)
	require.Equal(t, 16, strings.Count(out, " ok\n"), out)
	require.Contains(t, out, "I-RYW    not asserted\n")
	require.Regexp(t, regexp.MustCompile(`(?m)^1 conversations, 0 violations, \S+$`), out)

	// The tests' server is allowed to lose commits.
	status, out, errs = routerCommand(t, "check", "--config", config)
	require.Equal(t, exitError, status)
	require.Contains(t, out, "I-RYW    VIOLATED: what a verb's 200 said")
	require.Contains(t, out, "         database: fsync is off: a crash loses what was confirmed\n         what to do: point the routers")
	require.Equal(t, "router: an invariant is violated: I-RYW 1 times\n", errs)

	b.exec("update conversation set owner_id = 'eve'")
	status, out, _ = routerCommand(t, "check", "--config", config, "--skip", "I-RYW", "--since", "1h", "--json")
	require.Equal(t, exitError, status)
	var report invariant.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Len(t, report.Findings, 17)
	require.Equal(t, invariant.Own, report.Violated()[0].ID)
	require.Contains(t, out, `"found":[{"conversation":"1","what":"the row says AI_ACTIVE, ai:eve, epoch 1; its newest entry AI_ACTIVE, ai:atendimento, epoch 1"}]`)

	b.exec("update conversation set updated_at = now() - interval '2 hours'")
	status, _, errs = routerCommand(t, "check", "--config", config, "--skip", "I-RYW", "--since", "1h")
	require.Equal(t, exitOK, status, errs)
}

func TestCheckCommandCannotBegin(t *testing.T) {
	t.Parallel()
	db := postgrestest.NewEmpty(t)
	config := databaseConfigFile(t, db.URL)
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"--skip", "I-NONE"}, exitConfig, "no such invariant"},
		{[]string{"--since", "-1h"}, exitConfig, "not negative"},
		{[]string{"--since", "soon"}, exitConfig, "invalid duration"},
		{nil, exitError, "`router migrate`"},
	} {
		status, _, errs := routerCommand(t, append([]string{"check", "--config", config}, c.args...)...)
		require.Equal(t, c.status, status)
		require.Contains(t, errs, c.says)
	}
}

func TestInvariantsAreWatched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Check.Every = time.Second
	r := b.serveReady()
	metrics := func() string { return r.get("/metrics").body }
	require.Contains(t, metrics(), "router_invariant_check_timestamp_seconds 0\n")
	for _, id := range invariant.IDs() {
		require.Contains(t, metrics(), fmt.Sprintf("router_invariant_violations_total{invariant=%q} 0\n", id), "before the first check")
	}
	b.eventually("a check", func() bool { return !strings.Contains(metrics(), "router_invariant_check_timestamp_seconds 0\n") })
	require.Contains(t, metrics(), `router_invariant_violations_total{invariant="I-OWN"} 0`)
	require.Equal(t, 200, r.post(upsert("A1", testCustomer, "oi")).status)
	b.settled()
	b.exec("update conversation set owner_id = 'eve', updated_at = now() + interval '1 minute'")
	b.eventually("the violation in the metrics", func() bool {
		return strings.Contains(metrics(), `router_invariant_violations_total{invariant="I-OWN"} 1`)
	})
	require.Contains(t, b.logs.String(), `"invariant":"I-OWN"`)
	b.exec("update conversation set owner_id = 'atendimento'")
	b.eventually("it put right", func() bool {
		return strings.Contains(metrics(), `router_invariant_violations_total{invariant="I-OWN"} 0`)
	})
}

func TestInvariantsAreNotWatched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Check.Every = 0
	require.NotContains(t, b.serveReady().get("/metrics").body, "router_invariant")
}
