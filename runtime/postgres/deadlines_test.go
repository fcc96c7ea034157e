package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestEveryStatementHasADeadline(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{URL: "postgres://nobody@127.0.0.1:1/none"})
	require.NoError(t, err)
	defer s.Close()
	tracer := s.pool.Config().ConnConfig.Tracer
	require.NotNil(t, tracer)
	started := time.Now()
	ctx := tracer.TraceQueryStart(context.Background(), nil, pgx.TraceQueryStartData{})
	deadline, ok := ctx.Deadline()
	require.True(t, ok, "also when the caller has none")
	require.WithinDuration(t, started.Add(callTimeout), deadline, time.Second)
	require.NoError(t, ctx.Err())
	tracer.TraceQueryEnd(ctx, nil, pgx.TraceQueryEndData{})
	require.ErrorIs(t, ctx.Err(), context.Canceled, "its timer does not outlive the statement")

	sooner, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ctx = tracer.TraceQueryStart(sooner, nil, pgx.TraceQueryStartData{})
	deadline, _ = ctx.Deadline()
	want, _ := sooner.Deadline()
	require.Equal(t, want, deadline, "a caller's own deadline counts if it is sooner")
}
