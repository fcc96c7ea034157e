package postgrestest

import (
	"sync"
	"testing"
)

// durable is a server that flushes to disk, as in production: for measurements.
var durable = sync.OnceValues(func() (*server, error) {
	s, err := launch("-c", "shared_buffers=512MB", "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=30min",
		"-c", "wal_compression=lz4")
	if err != nil {
		return nil, err
	}
	return s, s.prepare()
})

// NewDurable makes a fresh database on a server that flushes to disk.
func NewDurable(t testing.TB) *Database {
	t.Helper()
	s, err := durable()
	if err != nil {
		unavailable(t, err)
	}
	return s.create(t, template)
}
