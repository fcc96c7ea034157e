//go:build e2e

// Package n8nlab starts the real n8n for one test: its PostgreSQL, n8n and a runner, with what of infra/component's settings a flow
// can notice.
package n8nlab

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"plantao/runtime/n8n"
	"plantao/test/lab/builder"
	"plantao/test/lab/enginetest"
)

// OwnerEmail is who may sign in.
const OwnerEmail = "operadora@plantao.example"

const filesAt = "/run/plantao"

// Instance is an n8n of this test.
type Instance struct {
	// URL is reachable from here. Password is the owner's; Token is what flows expect in X-Plantao-Token.
	URL, Password, Token string
	Network              *enginetest.Network
	Runner               *enginetest.Container
}

// images are the lab's, built if they are not there.
func images(t *testing.T, keys ...string) map[string]string {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for { // a test runs in its package's folder
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		require.NotEqual(t, filepath.Dir(root), root, "no go.mod above")
		root = filepath.Dir(root)
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	b, err := builder.New(t.Context(), root, filepath.Join(cache, "plantao", "lab"), enginetest.MustOpen(t),
		builder.NewProgress(os.Stderr), builder.Options{Only: keys})
	require.NoError(t, err)
	built, err := b.Run(t.Context())
	require.NoError(t, err)
	refs := map[string]string{}
	for _, key := range keys {
		refs[key] = built[key].Ref
	}
	return refs
}

// Start starts it; it is gone when the test ends.
func Start(t *testing.T) *Instance {
	t.Helper()
	refs := images(t, "postgres", "n8n", "n8n-runner")
	d := enginetest.NewDocker(t)
	in := &Instance{Password: "Aa1" + rand.Text(), Token: rand.Text(), Network: d.Network()}
	password, runners := rand.Text(), rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(in.Password), bcrypt.MinCost)
	require.NoError(t, err)

	database := d.Start(enginetest.Run{
		Image: refs["postgres"], User: "999:999", Network: in.Network, Alias: "postgres",
		Env: []string{"POSTGRES_USER=n8n", "POSTGRES_DB=n8n", "POSTGRES_PASSWORD_FILE=" + filesAt + "/password"},
		Binds: []string{
			d.Volume() + ":/var/lib/postgresql/data",
			d.Files(refs["postgres"], 999, 999, map[string]string{"password": password}) + ":" + filesAt + ":ro",
		},
		Tmpfs: map[string]string{"/run/postgresql": "uid=999,gid=999", "/tmp": ""},
	})
	database.MustBecome(nil, "pg_isready", "-h", "127.0.0.1", "-U", "n8n", "-d", "n8n")

	main := d.Start(enginetest.Run{
		Image: refs["n8n"], Network: in.Network, Alias: "n8n", MemoryMB: 1280,
		Env: []string{
			"DB_TYPE=postgresdb", "DB_POSTGRESDB_HOST=postgres", "DB_POSTGRESDB_DATABASE=n8n", "DB_POSTGRESDB_USER=n8n",
			"DB_POSTGRESDB_PASSWORD_FILE=" + filesAt + "/database-password",
			"N8N_ENCRYPTION_KEY_FILE=" + filesAt + "/encryption-key",
			"N8N_RUNNERS_MODE=external", "N8N_RUNNERS_AUTH_TOKEN_FILE=" + filesAt + "/runners-token",
			"N8N_RUNNERS_BROKER_LISTEN_ADDRESS=0.0.0.0", "N8N_RUNNERS_TASK_TIMEOUT=60",
			"N8N_INSTANCE_OWNER_MANAGED_BY_ENV=true", "N8N_INSTANCE_OWNER_EMAIL=" + OwnerEmail,
			"N8N_INSTANCE_OWNER_FIRST_NAME=Operadora", "N8N_INSTANCE_OWNER_LAST_NAME=-",
			"N8N_INSTANCE_OWNER_PASSWORD_HASH_FILE=" + filesAt + "/owner-hash",
			"N8N_SECURE_COOKIE=false", "N8N_BLOCK_ENV_ACCESS_IN_NODE=true", "EXECUTIONS_TIMEOUT=300",
			// Not the flows' own zone: what they reckon with is written in them.
			"GENERIC_TIMEZONE=Asia/Tokyo", "TZ=Asia/Tokyo",
			"N8N_DIAGNOSTICS_ENABLED=false", "N8N_VERSION_NOTIFICATIONS_ENABLED=false", "N8N_TEMPLATES_ENABLED=false",
			"N8N_UNVERIFIED_PACKAGES_ENABLED=false", "N8N_DISABLED_MODULES=mcp-registry",
		},
		Binds: []string{
			d.Volume() + ":/home/node/.n8n", d.Volume() + ":/home/node/.cache",
			d.Files(refs["n8n"], 1000, 1000, map[string]string{
				"database-password": password, "encryption-key": rand.Text(), "runners-token": runners, "owner-hash": string(hash),
			}) + ":" + filesAt + ":ro",
		},
		Tmpfs: map[string]string{"/tmp": ""},
	})
	in.URL = "http://" + main.IP(in.Network) + ":5678"
	in.Runner = d.Start(enginetest.Run{
		Image: refs["n8n-runner"], Network: in.Network, Alias: "n8n-runner", Cmd: []string{"javascript"},
		Env: []string{
			"N8N_RUNNERS_TASK_BROKER_URI=http://n8n:5679", "N8N_RUNNERS_AUTH_TOKEN_FILE=" + filesAt + "/runners-token",
			"N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT=0", "N8N_RUNNERS_TASK_TIMEOUT=60", "GENERIC_TIMEZONE=Asia/Tokyo",
		},
		Binds: []string{d.Files(refs["n8n-runner"], 1000, 1000, map[string]string{"runners-token": runners}) + ":" + filesAt + ":ro"},
		Tmpfs: map[string]string{"/tmp": ""},
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("n8n:\n%s\nrunner:\n%s", main.Logs(), in.Runner.Logs())
		}
	})
	return in
}

// Install brings workflow files in, as the stack does.
func (in *Instance) Install(t *testing.T, files fs.FS) n8n.InstallResult {
	t.Helper()
	res, err := n8n.Install(t.Context(), n8n.InstallConfig{
		URL: in.URL, OwnerEmail: OwnerEmail, OwnerPassword: in.Password, FlowToken: in.Token, Workflows: files, Wait: 10 * time.Minute,
	})
	require.NoError(t, err)
	return res
}
