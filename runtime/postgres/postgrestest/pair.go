package postgrestest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Pair is a primary and a standby that follows it asynchronously, each with the same database. Both end with the test.
type Pair struct {
	Primary *Database
	Standby *Database

	t testing.TB
}

// NewPair starts a primary with a database of the current schema, and a standby of it.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	primary, err := launch("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "wal_level=replica")
	if err == nil {
		t.Cleanup(primary.remove)
		err = primary.prepare()
	}
	var standby *server
	if err == nil {
		if standby, err = primary.copy(); err == nil {
			t.Cleanup(standby.remove)
		}
	}
	if err != nil {
		unavailable(t, err)
	}
	return &Pair{
		Primary: &Database{Name: template, URL: primary.url(template), server: primary},
		Standby: &Database{Name: template, URL: standby.url(template), server: standby},
		t:       t,
	}
}

// CatchUp waits until the standby has all that the primary has committed.
func (p *Pair) CatchUp() {
	p.t.Helper()
	var lsn string
	p.ask(p.Primary, &lsn, "select pg_current_wal_lsn()::text")
	p.until(func() (done bool) {
		p.ask(p.Standby, &done, "select pg_last_wal_replay_lsn() >= $1::pg_lsn", lsn)
		return done
	}, "the standby has caught up")
}

// Detach ends replication: what the primary commits from now on never reaches the standby.
func (p *Pair) Detach() {
	p.t.Helper()
	for _, sql := range []string{"alter system set primary_conninfo = ''", "select pg_reload_conf()"} {
		if err := p.Standby.server.exec(sql); err != nil {
			p.t.Fatalf("detach standby: %v", err)
		}
	}
	p.until(func() (done bool) {
		p.ask(p.Standby, &done, "select not exists (select 1 from pg_stat_wal_receiver)")
		return done
	}, "the standby receives nothing any more")
}

// Fail ends the primary at once, as a machine that loses power.
func (p *Pair) Fail() { p.Primary.server.kill(syscall.SIGQUIT) }

// Promote makes the standby a primary, on a timeline of its own.
func (p *Pair) Promote() {
	p.t.Helper()
	if err := p.Standby.server.exec("select pg_promote(true, 60)"); err != nil {
		p.t.Fatalf("promote standby: %v", err)
	}
}

func (p *Pair) ask(d *Database, into any, sql string, args ...any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := d.server.connect(ctx, d.Name)
	if err != nil {
		p.t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, sql, args...).Scan(into); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
}

func (p *Pair) until(done func() bool, what string) {
	p.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(startTimeout); !done(); <-tick.C {
		if time.Now().After(end) {
			p.t.Fatalf("waited %s in vain until %s", startTimeout, what)
		}
	}
}

// copy starts a standby of a server.
func (s *server) copy() (*server, error) {
	bin, err := binDir()
	if err != nil {
		return nil, err
	}
	standby, err := newServer()
	if err != nil {
		return nil, err
	}
	backup := exec.Command(filepath.Join(bin, "pg_basebackup"), "--host", s.dir, "--username", "postgres", "--pgdata", standby.data(),
		"--wal-method", "stream", "--checkpoint", "fast", "--write-recovery-conf", "--no-sync")
	backup.SysProcAttr, backup.Dir = standby.attr, standby.dir
	if out, err := backup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return standby, standby.run("-c", "fsync=off", "-c", "shared_buffers=16MB")
}

// kill ends the server and waits for its end.
func (s *server) kill(signal os.Signal) {
	_ = s.process.Signal(signal)
	<-s.ended
}

func (s *server) remove() {
	s.kill(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir)
}
