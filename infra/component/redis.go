package component

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// redisUser is a service's ACL user: its own database, keys and channels.
type redisUser struct {
	Name     string
	Database int
	Keys     string
	Channels string
	// Extra rules come last, so they win.
	Extra string
	// PasswordSHA256 in hex is what Redis compares with; the password itself is not in the file.
	PasswordSHA256 string
}

// redisUsers are the services that use Redis. Chatwoot's keys have no common prefix, so it gets all keys
// of a database that only it may select. KEYS is "dangerous" for its cost alone.
var redisUsers = []redisUser{
	{Name: "router", Database: 4, Keys: "~router:*", Channels: "&router:*"},
	{Name: "n8n", Database: 3, Keys: "~bull:* ~n8n:*", Channels: "&n8n:* &bull:*"},
	{Name: "chatwoot", Database: 1, Keys: "~*", Channels: "&*", Extra: "+keys"},
	{Name: "evolution", Database: 6, Keys: "~evolution:*", Channels: "&evolution:*", Extra: "+keys"},
}

// Redis holds queues, presence and locks: an accelerator for the router, a queue for Chatwoot and n8n.
type Redis struct {
	pulumi.ResourceState
	// Password by service.
	Password map[string]pulumi.StringOutput
	// Ready is what a client must wait for.
	Ready pulumi.Resource
}

// NewRedis makes the server with one ACL user per service.
func NewRedis(ctx *pulumi.Context, b *Base, opts ...pulumi.ResourceOption) (*Redis, error) {
	r := &Redis{Password: map[string]pulumi.StringOutput{}}
	if err := ctx.RegisterComponentResource("plantao:component:Redis", "redis", r, opts...); err != nil {
		return nil, err
	}
	const memoryMB = 128
	var passwords []any
	for _, u := range redisUsers {
		s, err := b.Secret(ctx, r, "redis-"+u.Name, nil)
		if err != nil {
			return nil, err
		}
		r.Password[u.Name] = s.Value
		passwords = append(passwords, s.Value)
	}
	conf := pulumi.All(passwords...).ApplyT(func(v []any) (string, error) {
		users := make([]redisUser, len(redisUsers))
		for i, u := range redisUsers {
			sum := sha256.Sum256([]byte(v[i].(string)))
			u.PasswordSHA256 = hex.EncodeToString(sum[:])
			users[i] = u
		}
		// A quarter is left for the copy-on-write of an AOF rewrite.
		return render("redis/redis.conf", map[string]any{"MaxMemoryMB": memoryMB * 3 / 4, "Users": users})
	}).(pulumi.StringOutput)
	files, err := b.Files(ctx, r, "redis", "redis", 999, 999, pulumi.StringMap{"redis.conf": conf})
	if err != nil {
		return nil, err
	}
	data, err := b.Volume(ctx, r, "redis-data")
	if err != nil {
		return nil, err
	}
	r.Ready, err = b.Run(ctx, r, Service{
		Service: "redis", Component: "redis", Image: "redis", User: "999",
		Command:  []string{"redis-server", FilesAt + "/redis.conf"},
		Files:    files,
		Mounts:   []Mount{{Volume: data.Name, Path: "/data"}},
		Zones:    []string{Data},
		Aliases:  []string{"redis"},
		MemoryMB: memoryMB,
		Health:   Health{Test: []string{"sh", "-c", "redis-cli ping | grep -q PONG"}, StartSeconds: 30},
	})
	if err != nil {
		return nil, err
	}
	return r, ctx.RegisterResourceOutputs(r, pulumi.Map{})
}
