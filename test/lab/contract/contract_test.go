//go:build e2e

package contract_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/builder"
	"plantao/test/lab/enginetest"
)

// build returns the reference of a lab image, building it if its content changed.
func build(t *testing.T, key string) string {
	t.Helper()
	eng := enginetest.MustOpen(t)
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	b, err := builder.New(t.Context(), root, filepath.Join(cache, "plantao", "lab"), eng,
		builder.NewProgress(os.Stderr), builder.Options{Only: []string{key}})
	require.NoError(t, err)
	images, err := b.Run(t.Context())
	require.NoError(t, err)
	return images[key].Ref
}

const configDir = "/run/plantao"

func postgres(t *testing.T) (d *enginetest.Docker, run enginetest.Run) {
	image := build(t, "postgres")
	d = enginetest.NewDocker(t)
	return d, enginetest.Run{
		Image: image, User: "999:999",
		Cmd: []string{"postgres", "-c", "shared_buffers=24MB"},
		Env: []string{"POSTGRES_USER=admin", "POSTGRES_DB=stack", "POSTGRES_PASSWORD_FILE=" + configDir + "/password"},
		Binds: []string{
			d.Volume() + ":/var/lib/postgresql/data",
			d.Files(image, 999, 999, map[string]string{"password": "correct horse"}) + ":" + configDir + ":ro",
		},
		Tmpfs: map[string]string{"/run/postgresql": "uid=999,gid=999", "/tmp": ""},
	}
}

func TestPostgresKeepsItsDataAndItsPassword(t *testing.T) {
	t.Parallel()
	d, run := postgres(t)
	c := d.Start(run)
	ready := []string{"pg_isready", "-h", "127.0.0.1", "-U", "admin", "-d", "stack"}
	c.MustBecome(nil, ready...)
	sql := func(text string) string { return c.MustExec(nil, "psql", "-U", "admin", "-d", "stack", "-Atc", text) }
	require.Equal(t, "24MB", sql("show shared_buffers"))
	for _, extension := range []string{"pg_stat_statements", "pg_trgm", "pgcrypto"} {
		require.Equal(t, "CREATE EXTENSION", sql("create extension "+extension))
	}
	sql("create table kept as select 1 as n")

	// From another address than the loopback a password is asked for.
	network := []string{"sh", "-c", `psql -h "$(hostname -i)" -U admin -d stack -Atc 'select n from kept'`}
	require.Equal(t, "1", c.MustExec([]string{"PGPASSWORD=correct horse"}, network...))
	status, out := c.Exec([]string{"PGPASSWORD=wrong"}, network...)
	require.NotZero(t, status)
	require.Contains(t, out, "password authentication failed")

	c.Restart()
	c.MustBecome(nil, ready...)
	require.Equal(t, "1", sql("select n from kept"))
	log := c.Logs()
	require.Contains(t, log, "nothing to initialise")
	require.Contains(t, log, "received fast shutdown request")
	require.NotContains(t, log, "correct horse")
}

func TestPostgresRefusesToStartWithoutPassword(t *testing.T) {
	t.Parallel()
	d, run := postgres(t)
	run.Env = []string{"POSTGRES_USER=admin"}
	c := d.Start(run)
	require.Equal(t, 1, c.Wait())
	require.Contains(t, c.Logs(), "set POSTGRES_PASSWORD_FILE")
}

func TestPostgresAsRootBecomesPostgres(t *testing.T) {
	t.Parallel()
	d, run := postgres(t)
	run.User, run.CapAdd = "", []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID"}
	c := d.Start(run)
	c.MustBecome(nil, "pg_isready", "-h", "127.0.0.1", "-U", "admin", "-d", "stack")
	require.Equal(t, "999", c.MustExec(nil, "stat", "-c", "%u", "/proc/1"))
}

func TestRedisFollowsItsFile(t *testing.T) {
	t.Parallel()
	image := build(t, "redis")
	d := enginetest.NewDocker(t)
	conf := "port 6379\ndir /data\nappendonly yes\nmaxmemory-policy noeviction\nrequirepass correct-horse\n"
	c := d.Start(enginetest.Run{
		Image: image, User: "999:1000", Cmd: []string{"redis-server", configDir + "/redis.conf"},
		Binds: []string{d.Volume() + ":/data", d.Files(image, 999, 1000, map[string]string{"redis.conf": conf}) + ":" + configDir + ":ro"},
	})
	auth := []string{"REDISCLI_AUTH=correct-horse"}
	c.MustBecome(auth, "redis-cli", "ping")
	_, out := c.Exec(nil, "redis-cli", "ping")
	require.Contains(t, out, "NOAUTH")
	require.Equal(t, "OK", c.MustExec(auth, "redis-cli", "set", "a", "1"))
	c.Restart()
	c.MustBecome(auth, "redis-cli", "ping")
	require.Equal(t, "1", c.MustExec(auth, "redis-cli", "get", "a"), "the append-only file survives")
}

func TestCaddyServesItsFile(t *testing.T) {
	t.Parallel()
	image := build(t, "caddy")
	d := enginetest.NewDocker(t)
	c := d.Start(enginetest.Run{
		Image: image, User: "1000:1000", CapAdd: []string{"NET_BIND_SERVICE"},
		Cmd: []string{"caddy", "run", "--config", configDir + "/Caddyfile", "--adapter", "caddyfile"},
		Binds: []string{d.Files(image, 1000, 1000, map[string]string{
			"Caddyfile": "{\n\tadmin off\n}\nhttp://chat.localhost:80 {\n\trespond \"on duty\"\n}\n",
		}) + ":" + configDir + ":ro"},
		Tmpfs: map[string]string{"/data": "uid=1000", "/config": "uid=1000"},
	})
	c.MustBecome(nil, "wget", "-q", "-O", "/dev/null", "--header", "Host: chat.localhost", "http://127.0.0.1/")
	require.Equal(t, "on duty", c.MustExec(nil, "wget", "-q", "-O", "-", "--header", "Host: chat.localhost", "http://127.0.0.1/"))
}

func TestEvolutionIsLaidOutAsUpstream(t *testing.T) {
	t.Parallel()
	image := build(t, "evolution")
	d := enginetest.NewDocker(t)

	c := d.Start(enginetest.Run{Image: image, Writable: true})
	require.Equal(t, 1, c.Wait(), "without its settings it refuses to start")
	require.Contains(t, c.Logs(), "DATABASE_")

	c = d.Start(enginetest.Run{Image: image})
	require.Equal(t, 1, c.Wait(), "upstream generates code into its own folder at every start")
	require.Contains(t, c.Logs(), "not writable")
}

func TestChatwootIsLaidOutAsUpstream(t *testing.T) {
	t.Parallel()
	image := build(t, "chatwoot")
	d := enginetest.NewDocker(t)

	c := d.Start(enginetest.Run{Image: image, Cmd: []string{"bundle", "exec", "sidekiq", "-C", "config/sidekiq.yml"}})
	require.Equal(t, 1, c.Wait(), "without its settings it refuses to start")
	require.Contains(t, c.Logs(), "SECRET_KEY_BASE")

	script := []string{"docker/entrypoints/rails.sh", "bundle", "exec", "rails", "s", "-p", "3000", "-b", "0.0.0.0"}
	c = d.Start(enginetest.Run{Image: image, Cmd: script, Env: []string{"DATABASE_URL=postgres://u:p@127.0.0.1:1/chatwoot"}})
	require.Eventually(t, func() bool { return strings.Contains(c.Logs(), "Waiting for postgres at 127.0.0.1") },
		time.Minute, 100*time.Millisecond)
	c.MustExec(nil, "sh", "-c", "command -v wget nc bash pgrep && test -d /app/storage")
}

func TestRouterIsOneSmallProgram(t *testing.T) {
	t.Parallel()
	image := build(t, "router")
	eng := enginetest.MustOpen(t)
	held, err := eng.Find(t.Context(), image)
	require.NoError(t, err)
	// A distribution below it would be more than this; `make bench-infra` measures the size.
	require.LessOrEqual(t, held.Size, int64(50_000_000))

	c := enginetest.NewDocker(t).Start(enginetest.Run{Image: image, Cmd: []string{"version"}})
	require.Zero(t, c.Wait(), "log:\n%s", c.Logs())
	_, tag, _ := strings.Cut(image, ":")
	require.Contains(t, c.Logs(), tag)
}
