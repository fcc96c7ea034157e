package main

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/simulate"
)

func TestSimulateCommand(t *testing.T) {
	t.Parallel()
	db := postgrestest.NewEmpty(t)
	config := databaseConfigFile(t, db.URL)
	status, out, errs := routerCommand(t, "simulate", "--config", config, "--seed", "7", "--steps", "60", "--rounds", "2")
	require.Equal(t, exitError, status)
	require.Regexp(t, regexp.MustCompile(`^router: the simulation was too short: it did not come to .+; give it more steps or rounds\n$`), errs)
	require.Regexp(t, regexp.MustCompile(`(?s)^seed 7: \d+ steps in \S+ \(\d+/s\), \d+ conversations, .*log [0-9a-f]{12}\nseed 8: .*\nactions: .*\nfaults: .*\n2 rounds, \d+ steps, nothing violated\n$`), out)

	_, out, _ = routerCommand(t, "simulate", "--config", config, "--seed", "7", "--steps", "60", "--json")
	var report simulate.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Len(t, report.Rounds, 1)
	require.EqualValues(t, 7, report.Rounds[0].Seed)
	require.NotEmpty(t, report.Unseen)

	var left int
	require.NoError(t, db.Conn(t).QueryRow(t.Context(), "select count(*) from pg_namespace where nspname like 'router\\_simulation\\_%'").Scan(&left))
	require.Zero(t, left, "the schemas are dropped")
}

func TestSimulateCommandCannotBegin(t *testing.T) {
	t.Parallel()
	db := postgrestest.NewEmpty(t)
	config := databaseConfigFile(t, db.URL)
	status, _, errs := routerCommand(t, "simulate", "--config", config, "--replicas", "1")
	require.Equal(t, exitConfig, status)
	require.Contains(t, errs, "--replicas at least 2")
}
