// Package postgrestest gives tests a real PostgreSQL: one server for each test process, started from the installed
// binaries, and a database of its own for each test. Without binaries a test is skipped, and failed when CI=true.
package postgrestest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/postgres"
)

const (
	startTimeout = 60 * time.Second
	dirPrefix    = "plantao-pg-"
	template     = "plantao_template"
)

// Database is one test's own database.
type Database struct {
	URL  string // for pgx and the router; over a unix socket
	Name string

	server *server
}

type server struct {
	dir     string
	attr    *syscall.SysProcAttr // who runs it
	process *os.Process
	ended   <-chan struct{}
}

var (
	once    sync.Once
	shared  *server
	failure error
	counter atomic.Int64
)

// New makes a fresh database with the current schema. It is dropped when the test ends.
func New(t testing.TB) *Database {
	t.Helper()
	return create(t, template)
}

// NewEmpty makes a fresh database without a schema.
func NewEmpty(t testing.TB) *Database {
	t.Helper()
	return create(t, "template0")
}

// Store opens a store on the database, closed when the test ends.
func (d *Database) Store(t testing.TB) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(postgres.Config{URL: d.URL, AppName: t.Name()})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(store.Close)
	return store
}

// Conn opens a plain connection, closed when the test ends.
func (d *Database) Conn(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), d.URL)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// SocketPath is the unix socket the server listens on, for tests that put something in between.
func (d *Database) SocketPath() string { return filepath.Join(d.server.dir, ".s.PGSQL.5432") }

func create(t testing.TB, from string) *Database {
	t.Helper()
	once.Do(start)
	if failure != nil {
		unavailable(t, failure)
	}
	return shared.create(t, from)
}

// unavailable skips a test that has no server, and fails it where there must be one.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("start postgresql: %v", err)
	}
	t.Skipf("no postgresql: %v", err)
}

func (s *server) create(t testing.TB, from string) *Database {
	t.Helper()
	d := &Database{Name: fmt.Sprintf("test_%d", counter.Add(1)), server: s}
	d.URL = s.url(d.Name)
	if err := s.exec(fmt.Sprintf("create database %s template %s", d.Name, from)); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("drop database " + d.Name + " with (force)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return d
}

func (s *server) url(database string) string {
	return "postgres://postgres@localhost/" + database + "?host=" + url.QueryEscape(s.dir) + "&sslmode=disable"
}

func (s *server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func (s *server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, s.url(database))
}

func start() {
	// Durability is not what these tests are about; a crash of the machine loses the directory anyway.
	shared, failure = launch("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "autovacuum=off")
	if failure == nil {
		failure = shared.prepare()
	}
}

// prepare makes the database that the tests' own are copied from.
func (s *server) prepare() error {
	if err := s.exec("create database " + template); err != nil {
		return err
	}
	_, err := postgres.Migrate(context.Background(), postgres.Config{URL: s.url(template), AppName: "postgrestest"})
	return err
}

// launch makes and starts a server with further settings, as for the command line.
func launch(settings ...string) (*server, error) {
	bin, err := binDir()
	if err != nil {
		return nil, err
	}
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", s.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = s.attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.run(settings...)
}

// newServer makes the directory of a server that has no data yet.
func newServer() (*server, error) {
	removeStale()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, err
	}
	attr, err := runAs(dir)
	return &server{dir: dir, attr: attr}, err
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// run starts the server on its data and waits until it answers.
func (s *server) run(settings ...string) error {
	bin, err := binDir()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "postgres"), append([]string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "max_connections=200", "-c", "deadlock_timeout=100ms"}, settings...)...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = s.attr, s.dir, log, log
	if s.ended, err = startBound(cmd); err != nil {
		return err
	}
	s.process = cmd.Process
	return s.await(filepath.Join(s.dir, "log"))
}

// startBound starts a child that the kernel ends with this process, also after a panic or SIGKILL. The signal is tied to
// the thread that forked, so that thread is kept until the child is gone, which the channel tells.
func startBound(cmd *exec.Cmd) (<-chan struct{}, error) {
	attr := *cmd.SysProcAttr
	attr.Pdeathsig = syscall.SIGQUIT // immediate shutdown: no child process and no shared memory stays
	cmd.SysProcAttr = &attr
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	return ended, <-started
}

func (s *server) await(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.exec("select 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			tail, _ := os.ReadFile(log)
			return fmt.Errorf("postgresql did not start: %w: %s", err, tail)
		case <-tick.C:
		}
	}
}

// binDir is where initdb and postgres are: what pg_config says, or the newest of Debian's versions.
func binDir() (string, error) {
	var candidates []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	for _, dir := range append(candidates, found...) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find initdb: not beside pg_config and not in /usr/lib/postgresql; install the package postgresql")
}

func major(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// runAs makes the directory somebody's whom PostgreSQL accepts: it refuses to run as root.
func runAs(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, fmt.Errorf("find a user to run postgresql as: neither postgres nor nobody exists")
}

// removeStale removes directories of test processes that are gone.
func removeStale() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); os.IsNotExist(err) {
			_ = os.RemoveAll(dir)
		}
	}
}
