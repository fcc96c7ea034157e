package component

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/sdk/plantao"
)

// Databases each have a role of the same name that owns it and sees no other.
var Databases = []string{"router", "n8n", "chatwoot", "evolution"}

// postgresUID is the server's user and group in the upstream image.
const postgresUID = 999

// Postgres is the one authority for what must not be lost.
type Postgres struct {
	pulumi.ResourceState
	// Password by database, for the role that owns it. The superuser's leaves this component only into
	// the prepare job.
	Password map[string]pulumi.StringOutput
	// Ready is what a client of the databases must wait for.
	Ready pulumi.Resource
}

// NewPostgres makes the server and prepares one database and role per service.
func NewPostgres(ctx *pulumi.Context, b *Base, opts ...pulumi.ResourceOption) (*Postgres, error) {
	p := &Postgres{}
	if err := ctx.RegisterComponentResource("plantao:component:Postgres", "postgres", p, opts...); err != nil {
		return nil, err
	}
	names := []string{"postgres-superuser"}
	for _, db := range Databases {
		names = append(names, "postgres-"+db)
	}
	secrets, err := b.Secrets(ctx, p, names...)
	if err != nil {
		return nil, err
	}
	p.Password = map[string]pulumi.StringOutput{}
	for _, db := range Databases {
		p.Password[db] = secrets["postgres-"+db]
	}
	server, err := p.server(ctx, b, secrets["postgres-superuser"])
	if err != nil {
		return nil, err
	}
	p.Ready, err = p.prepare(ctx, b, secrets["postgres-superuser"], server)
	if err != nil {
		return nil, err
	}
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{})
}

func (p *Postgres) server(ctx *pulumi.Context, b *Base, superuser pulumi.StringOutput) (pulumi.Resource, error) {
	files, err := b.Files(ctx, p, "postgres", "postgres", postgresUID, postgresUID, pulumi.StringMap{"password": superuser})
	if err != nil {
		return nil, err
	}
	data, err := b.Volume(ctx, p, "postgres-data")
	if err != nil {
		return nil, err
	}
	return b.Run(ctx, p, Service{
		Service: "postgres", Component: "postgres", Image: "postgres", User: "999:999",
		Command: []string{
			"postgres",
			"-c", "shared_preload_libraries=pg_stat_statements",
			"-c", "max_connections=100",
			"-c", "shared_buffers=128MB",
			// A role that waits in a transaction holds back vacuum for all.
			"-c", "idle_in_transaction_session_timeout=60s",
		},
		Env: map[string]pulumi.StringInput{
			"POSTGRES_USER":          pulumi.String("postgres"),
			"POSTGRES_DB":            pulumi.String("postgres"),
			"POSTGRES_PASSWORD_FILE": pulumi.String(FilesAt + "/password"),
			"POSTGRES_INITDB_ARGS":   pulumi.String("--data-checksums --auth-host=scram-sha-256"),
			// A folder below the mount: a volume's root may hold lost+found, which initdb refuses.
			"PGDATA": pulumi.String("/var/lib/postgresql/data/pgdata"),
		},
		Files:    files,
		Mounts:   []Mount{{Volume: data.Name, Path: "/var/lib/postgresql/data"}},
		Zones:    []string{Data},
		Aliases:  []string{"postgres"},
		MemoryMB: 512,
		Tmpfs:    map[string]string{"/run/postgresql": "rw,noexec,nosuid,uid=999,gid=999,mode=0775", "/tmp": "rw,noexec,nosuid"},
		// Over TCP: during its first start the image runs a server on the unix socket only.
		Health:      Health{Test: []string{"pg_isready", "-h", "127.0.0.1", "-U", "postgres"}, StartSeconds: 60},
		StopSeconds: 60,
	})
}

func (p *Postgres) prepare(ctx *pulumi.Context, b *Base, superuser pulumi.StringOutput, server pulumi.Resource) (pulumi.Resource, error) {
	content := pulumi.StringMap{
		"password-postgres": superuser,
		"databases.list":    pulumi.String(strings.Join(Databases, "\n") + "\n"),
	}
	for _, name := range []string{"prepare.sh", "role.sql", "database.sql"} {
		text, err := file("postgres/" + name)
		if err != nil {
			return nil, err
		}
		content[name] = pulumi.String(text)
	}
	for db, password := range p.Password {
		content["password-"+db] = password
	}
	files, err := b.Files(ctx, p, "postgres-prepare", "postgres", postgresUID, postgresUID, content)
	if err != nil {
		return nil, err
	}
	return b.Job(ctx, p, "postgres-prepare", "postgres", []string{Data}, &plantao.JobArgs{
		Entrypoint:     list([]string{"sh", FilesAt + "/prepare.sh"}),
		User:           pulumi.String("999:999"),
		ReadOnly:       pulumi.Bool(true),
		MemoryMb:       pulumi.Int(128),
		TimeoutSeconds: pulumi.Int(120),
		Volumes:        mountFiles(files),
	}, pulumi.DependsOn([]pulumi.Resource{server}))
}

// mountFiles is a job's mount of its files.
func mountFiles(v *plantao.FileVolume) pulumi.StringMapOutput {
	return v.Name.ApplyT(func(name string) map[string]string {
		return map[string]string{name: FilesAt + ":ro"}
	}).(pulumi.StringMapOutput)
}
