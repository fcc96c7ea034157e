package simulate

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

func config(t *testing.T) Config {
	t.Helper()
	return Config{Database: postgres.Config{URL: postgrestest.NewEmpty(t).URL}}
}

// show is a violation as a failed test prints it.
func show(v *Violation) string {
	if v == nil {
		return ""
	}
	return string(v.Invariant) + " " + v.What + "\n" + strings.Join(v.Last, "\n")
}

func schemas(t *testing.T, c Config) int {
	t.Helper()
	conn, err := dial(t.Context(), c.Database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), "select count(*) from pg_namespace where nspname like $1", schemaPrefix+"%").Scan(&n))
	return n
}

func TestNothingIsViolated(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Seed, c.Rounds, c.Steps = 1, 3, 1200
	c.Progress = func(r Round) {
		t.Logf("seed %d: %d steps, %.0f/s, %d parts received, faults %v", r.Seed, r.Steps, float64(r.Steps)/r.Took.Seconds(), r.Parts, r.Faults)
	}
	report, err := Run(t.Context(), c)
	require.NoError(t, err)
	require.Nil(t, report.Violation, show(report.Violation))
	require.Empty(t, report.Unseen, "each kind of fault happened")
	for _, a := range actions {
		require.Positive(t, report.Actions[a.name], a.name)
	}
	require.Zero(t, schemas(t, c))
}

func TestASeedAlwaysGivesTheSameSchedule(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, every int) Round {
		c := config(t)
		c.Seed, c.Steps, c.CheckEvery = seed, 500, every
		report, err := Run(t.Context(), c)
		require.NoError(t, err)
		require.Nil(t, report.Violation, show(report.Violation))
		return report.Rounds[0]
	}
	first, again, other := run(11, 100), run(11, 7), run(12, 100)
	require.Equal(t, first.Log, again.Log)
	require.Equal(t, first.Faults, again.Faults)
	require.NotEqual(t, first.Log, other.Log)
}

func TestARoleWithoutTheRightIsToldSo(t *testing.T) {
	t.Parallel()
	c := config(t)
	conn, err := dial(t.Context(), c.Database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), "do $$ begin if not exists (select from pg_roles where rolname = 'humble') then create role humble login; end if; end $$")
	require.NoError(t, err)
	u, err := url.Parse(c.Database.URL)
	require.NoError(t, err)
	u.User = url.User("humble")
	c.Database.URL = u.String()
	_, err = Run(t.Context(), c)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, `grant create on database`)
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Rounds, c.Steps = 5, 100
	ctx, interrupt := context.WithCancel(t.Context())
	c.Progress = func(Round) { interrupt() }
	report, err := Run(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, report.Rounds, 1, "what ended is reported")
	require.Zero(t, schemas(t, c))

	// In the middle of a step: a connection breaks then.
	ctx, interrupt = context.WithCancel(t.Context())
	c.plant = func(_ postgres.Config, s *postgres.Store) conversation.Store { return interrupts{s, interrupt} }
	_, err = Run(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, schemas(t, c))
}

// interrupts is a store during whose work the user has enough.
type interrupts struct {
	conversation.Store
	interrupt func()
}

func (i interrupts) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	i.interrupt()
	return i.Store.ClaimTurn(ctx, terms)
}
