package stack

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"plantao/infra/component"
	"plantao/infra/upstream"
)

// recorded is one resource as the program asked for it.
type recorded struct {
	Type, Name string
	Inputs     resource.PropertyMap
}

// recorder stands for the engine: it keeps what the program registers and answers with values of which
// each secret is recognisable.
type recorder struct {
	mu   sync.Mutex
	seen []recorded
}

// secretMark begins every secret the recorder hands out.
const secretMark = "s3cr3t-"

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, recorded{Type: args.TypeToken, Name: args.Name, Inputs: args.Inputs})
	out := args.Inputs.Copy()
	switch args.TypeToken {
	case "plantao:index:Secret":
		out["value"] = resource.MakeSecret(resource.NewStringProperty(secretMark + args.Name))
		out["bcryptHash"] = resource.MakeSecret(resource.NewStringProperty(secretMark + "hash-" + args.Name))
	case "plantao:index:FileVolume":
		out["name"] = resource.NewStringProperty(args.Inputs["prefix"].StringValue() + "-0123456789ab")
	}
	return args.Name, out, nil
}

func (*recorder) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return resource.PropertyMap{}, nil
}

// record runs the program against the recorder with the images of a source.
func record(t *testing.T, source string) []recorded {
	t.Helper()
	root := t.TempDir()
	manifest := component.Manifest{Source: source, Images: map[string]string{"router": "plantao/router:0123456789abcdef"}}
	if source == "lab" {
		versions, err := upstream.Versions()
		require.NoError(t, err)
		for key := range versions {
			manifest.Images[key] = "plantao-lab/" + key + ":0123456789abcdef"
		}
	}
	raw, err := json.Marshal(manifest)
	require.NoError(t, err)
	path := filepath.Join(root, component.ManifestPath)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	config, err := Parse(valid())
	require.NoError(t, err)
	images, err := component.ResolveImages("auto", root)
	require.NoError(t, err)
	r := &recorder{}
	err = pulumi.RunErr(func(ctx *pulumi.Context) error { return deploy(ctx, config, images, "rules: []\n") },
		pulumi.WithMocks("plantao", "dev", r))
	require.NoError(t, err)
	return r.seen
}

func valid() map[string]string {
	return map[string]string{
		"plantao:adminName":  "Operadora",
		"plantao:adminEmail": "operadora@plantao.example",
		"plantao:channels":   `[{"name":"principal","integration":"EVOLUTION","number":"5511900000000","flow":"atendimento"}]`,
	}
}

// each calls f for every recorded resource of a type, and fails when there is none: a policy that checks
// nothing must not pass.
func each(t require.TestingT, seen []recorded, typ string, f func(r recorded)) {
	found := 0
	for _, r := range seen {
		if r.Type == typ {
			found++
			f(r)
		}
	}
	require.NotZero(t, found, "no %s among %d resources", typ, len(seen))
}

const containerType = "docker:index/container:Container"

func plain(v resource.PropertyValue) string {
	return fmt.Sprintf("%v", resource.NewObjectProperty(resource.PropertyMap{"v": v}).MapRepl(nil, func(v resource.PropertyValue) (any, bool) {
		if v.IsSecret() {
			return v.SecretValue().Element.String(), true
		}
		return nil, false
	}))
}

func TestPolicies(t *testing.T) {
	for _, source := range []string{"lab", "registry"} {
		t.Run(source, func(t *testing.T) {
			seen := record(t, source)
			t.Run("images have exact tags", func(t *testing.T) { checkImages(t, seen) })
			t.Run("only the ingress publishes, and only here", func(t *testing.T) { checkPorts(t, seen) })
			t.Run("containers are limited and checked", func(t *testing.T) { checkContainers(t, seen) })
			t.Run("no service is database superuser", func(t *testing.T) { checkSuperuser(t, seen) })
			t.Run("the operator's token is the wiring's alone", func(t *testing.T) { checkOperatorToken(t, seen) })
			t.Run("only API and readiness of the router are open", func(t *testing.T) { checkIngress(t, seen) })
			t.Run("no known public key", func(t *testing.T) { checkPublicKeys(t, seen) })
			t.Run("secrets stay in files", func(t *testing.T) { checkSecrets(t, seen) })
			t.Run("networks", func(t *testing.T) { checkNetworks(t, seen) })
		})
	}
}

func checkImages(t require.TestingT, seen []recorded) {
	moving := regexp.MustCompile(`:(latest|stable|main|edge|next|nightly)(-|@|$)`)
	check := func(name, ref string) {
		require.NotRegexp(t, moving, ref, name)
		_, tag, tagged := strings.Cut(ref[strings.LastIndex(ref, "/")+1:], ":")
		require.True(t, tagged && regexp.MustCompile(`[0-9a-f]{16}|[0-9]+\.[0-9]+`).MatchString(tag), "%s: %q has no exact tag", name, ref)
	}
	each(t, seen, containerType, func(r recorded) { check(r.Name, r.Inputs["image"].StringValue()) })
	each(t, seen, "plantao:index:Job", func(r recorded) { check(r.Name, r.Inputs["image"].StringValue()) })
	each(t, seen, "docker:index/remoteImage:RemoteImage", func(r recorded) { check(r.Name, r.Inputs["name"].StringValue()) })
}

func checkPorts(t require.TestingT, seen []recorded) {
	published := 0
	each(t, seen, containerType, func(r recorded) {
		require.False(t, r.Inputs["publishAllPorts"].IsBool() && r.Inputs["publishAllPorts"].BoolValue(), r.Name)
		require.False(t, r.Inputs.HasValue("networkMode"), "%s sets a network mode, which could be the host's", r.Name)
		ports, ok := r.Inputs["ports"]
		if !ok {
			return
		}
		require.Equal(t, "container-ingress", r.Name, "only the ingress publishes")
		for _, p := range ports.ArrayValue() {
			published++
			require.Equal(t, "127.0.0.1", p.ObjectValue()["ip"].StringValue())
			require.InDelta(t, 8080, p.ObjectValue()["external"].NumberValue(), 0)
		}
	})
	require.Equal(t, 1, published)
}

func checkContainers(t require.TestingT, seen []recorded) {
	each(t, seen, containerType, func(r recorded) {
		in := r.Inputs
		require.GreaterOrEqual(t, in["memory"].NumberValue(), 32.0, r.Name)
		require.NotEmpty(t, in["healthcheck"].ObjectValue()["tests"].ArrayValue(), r.Name)
		require.Equal(t, "unless-stopped", in["restart"].StringValue(), r.Name)
		require.NotEmpty(t, in["logOpts"].ObjectValue()["max-size"].StringValue(), r.Name)
		require.Contains(t, plain(in["securityOpts"]), "no-new-privileges:true", r.Name)
		require.Contains(t, plain(in["capabilities"].ObjectValue()["drops"]), "ALL", r.Name)
		require.False(t, in["privileged"].IsBool() && in["privileged"].BoolValue(), r.Name)
		require.NotContains(t, plain(in["volumes"]), "docker.sock", r.Name)
		writable := []string{"container-chatwoot-web", "container-chatwoot-worker", "container-evolution"}
		require.Equal(t, !slices.Contains(writable, r.Name), in["readOnly"].BoolValue(), r.Name)
		for _, v := range in["volumes"].ArrayValue() {
			require.False(t, v.ObjectValue().HasValue("hostPath"), "%s mounts a path of the host", r.Name)
		}
	})
	each(t, seen, "plantao:index:Job", func(r recorded) {
		require.GreaterOrEqual(t, r.Inputs["memoryMb"].NumberValue(), 32.0, r.Name)
		require.Positive(t, r.Inputs["timeoutSeconds"].NumberValue(), r.Name)
	})
}

// checkSuperuser: the superuser's password is in the files of the server and of its prepare job only, and
// every other service signs in as the role of its own database.
func checkSuperuser(t require.TestingT, seen []recorded) {
	var holders []string
	each(t, seen, "plantao:index:FileVolume", func(r recorded) {
		if strings.Contains(plain(r.Inputs["files"]), secretMark+"secret-postgres-superuser") {
			holders = append(holders, r.Name)
		}
	})
	slices.Sort(holders)
	require.Equal(t, []string{"files-postgres", "files-postgres-prepare"}, holders)
	users := map[string]string{
		"files-n8n": "n8n", "files-chatwoot": "chatwoot", "files-evolution": "evolution", "files-router-1": "router", "files-router-2": "router",
	}
	each(t, seen, "plantao:index:FileVolume", func(r recorded) {
		own, checked := users[r.Name]
		if !checked {
			return
		}
		for _, db := range component.Databases {
			has := strings.Contains(plain(r.Inputs["files"]), secretMark+"secret-postgres-"+db)
			require.Equal(t, db == own, has, "%s and the password of database %s", r.Name, db)
		}
	})
}

// checkOperatorToken: the token that may do everything is in the files of the wiring job only; the database, and so the serving
// router, knows its hash. The wiring is told where it is.
func checkOperatorToken(t require.TestingT, seen []recorded) {
	var holders []string
	each(t, seen, "plantao:index:FileVolume", func(r recorded) {
		files := plain(r.Inputs["files"])
		if strings.Contains(files, secretMark+"secret-router-operator-token") {
			holders = append(holders, r.Name)
			require.Contains(t, files, "operator_token_file: /run/plantao/operator-token")
		}
	})
	require.Equal(t, []string{"files-router-wire"}, holders)
}

// checkIngress: from outside, the router answers its API, which asks for a token, and readiness. What the Caddyfile does with
// that is the end-to-end test's.
func checkIngress(t require.TestingT, seen []recorded) {
	each(t, seen, "plantao:index:FileVolume", func(r recorded) {
		if r.Name != "files-ingress" {
			return
		}
		_, site, found := strings.Cut(plain(r.Inputs["files"]), "http://router.localhost:8080 {")
		require.True(t, found, "the Caddyfile has no site for the router")
		require.Contains(t, site, "@open path /v1/* /readyz\n\thandle @open {")
		require.Contains(t, site, "max_size 1MB")
		require.Contains(t, site, "reverse_proxy router-1:8080 router-2:8080 {")
		require.Equal(t, 1, strings.Count(site, "reverse_proxy"))
		require.Contains(t, site, "handle {\n\t\trespond 404\n\t}")
	})
}

// checkPublicKeys: values that stand in an upstream's example files are known to everyone. Prefixes only,
// so that this file does not spread them.
func checkPublicKeys(t require.TestingT, seen []recorded) {
	known := []string{"429683C4", "BQYHJGJHJ", "replace_with_lengthy", "captain42", "changeme", "password123", "root:root", "postgres:postgres", "user:pass@"}
	for _, r := range seen {
		text := plain(resource.NewObjectProperty(r.Inputs))
		for _, k := range known {
			require.NotContains(t, text, k, r.Name)
		}
	}
}

// checkSecrets: a drawn secret appears in files and nowhere else: not in a container's or job's
// environment, argv, labels, health check or name.
func checkSecrets(t require.TestingT, seen []recorded) {
	drawn, inFiles := 0, 0
	for _, r := range seen {
		text := plain(resource.NewObjectProperty(r.Inputs))
		switch r.Type {
		case "plantao:index:Secret":
			drawn++
			continue
		case "plantao:index:FileVolume":
			inFiles += strings.Count(text, secretMark)
			require.True(t, r.Inputs["files"].ContainsSecrets() || !strings.Contains(text, secretMark), "%s: files are not secret", r.Name)
			continue
		}
		require.NotContains(t, text, secretMark, "%s %s", r.Type, r.Name)
	}
	require.Greater(t, drawn, 15)
	require.Greater(t, inFiles, drawn)
}

func checkNetworks(t require.TestingT, seen []recorded) {
	internal := map[string]bool{}
	each(t, seen, "docker:index/network:Network", func(r recorded) {
		internal[r.Name] = r.Inputs["internal"].BoolValue()
	})
	require.Equal(t, map[string]bool{"network-edge": false, "network-app": false, "network-data": true, "network-code": true}, internal)
	zones := map[string]string{}
	each(t, seen, containerType, func(r recorded) {
		zones[strings.TrimPrefix(r.Name, "container-")] = plain(r.Inputs["networksAdvanced"])
	})
	for service, text := range zones {
		stores := service == "postgres" || service == "redis"
		require.Equal(t, stores || service == "n8n-runner", !strings.Contains(text, "plantao-dev-app") && !strings.Contains(text, "plantao-dev-edge"), service)
	}
	require.NotContains(t, zones["n8n-runner"], "plantao-dev-data")
	require.NotContains(t, zones["ingress"], "plantao-dev-data")
	require.NotContains(t, zones["ingress"], "plantao-dev-app")
}

// TestPoliciesFindViolations is the control: each check fails on a resource that breaks its rule.
func TestPoliciesFindViolations(t *testing.T) {
	seen := record(t, "lab")
	breaks := map[string]struct {
		check func(require.TestingT, []recorded)
		with  func(in resource.PropertyMap)
		of    string // "": container-postgres
	}{
		"operator token served": {checkOperatorToken, func(in resource.PropertyMap) {
			in["files"] = resource.NewStringProperty(secretMark + "secret-router-operator-token operator_token_file: /run/plantao/operator-token")
		}, "files-router-1"},
		"router open": {checkIngress, func(in resource.PropertyMap) {
			in["files"] = resource.NewStringProperty("http://router.localhost:8080 {\n\treverse_proxy router-1:8080 router-2:8080 {")
		}, "files-ingress"},
		"latest":    {checkImages, func(in resource.PropertyMap) { in["image"] = resource.NewStringProperty("redis:latest") }, ""},
		"no tag":    {checkImages, func(in resource.PropertyMap) { in["image"] = resource.NewStringProperty("redis") }, ""},
		"data port": {checkPorts, func(in resource.PropertyMap) { in["ports"] = ports(5432) }, ""},
		"unlimited": {checkContainers, func(in resource.PropertyMap) { in["memory"] = resource.NewNumberProperty(0) }, ""},
		"unchecked": {checkContainers, func(in resource.PropertyMap) {
			in["healthcheck"] = resource.NewObjectProperty(resource.PropertyMap{"tests": resource.NewArrayProperty(nil)})
		}, ""},
		"secret in env": {checkSecrets, func(in resource.PropertyMap) {
			in["envs"] = resource.NewArrayProperty([]resource.PropertyValue{resource.NewStringProperty("A=" + secretMark + "x")})
		}, ""},
		"public key": {checkPublicKeys, func(in resource.PropertyMap) {
			in["envs"] = resource.NewArrayProperty([]resource.PropertyValue{resource.NewStringProperty("KEY=429683C4ABC")})
		}, ""},
	}
	for name, b := range breaks {
		t.Run(name, func(t *testing.T) {
			broken := slices.Clone(seen)
			i := slices.IndexFunc(broken, func(r recorded) bool { return r.Name == cmp.Or(b.of, "container-postgres") })
			broken[i].Inputs = broken[i].Inputs.Copy()
			b.with(broken[i].Inputs)
			require.True(t, fails(func(t require.TestingT) { b.check(t, broken) }))
		})
	}
}

func ports(external float64) resource.PropertyValue {
	return resource.NewArrayProperty([]resource.PropertyValue{resource.NewObjectProperty(resource.PropertyMap{
		"ip": resource.NewStringProperty("0.0.0.0"), "external": resource.NewNumberProperty(external), "internal": resource.NewNumberProperty(external),
	})})
}

// probe is a test that only notes whether it failed.
type probe struct{ failed bool }

func (p *probe) Errorf(string, ...any) { p.failed = true }

// FailNow ends the goroutine, as testing.T does.
func (p *probe) FailNow() { p.failed = true; runtime.Goexit() }

func fails(check func(require.TestingT)) bool {
	p := &probe{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(p)
	}()
	<-done
	return p.failed
}

func TestVersionsAreSafe(t *testing.T) {
	versions, err := upstream.Versions()
	require.NoError(t, err)
	table, err := upstream.SafeVersions()
	require.NoError(t, err)
	checked := map[string]bool{}
	for _, s := range table {
		v, ok := versions[s.Component]
		require.True(t, ok, "safe_versions.yaml names %s, versions.yaml does not", s.Component)
		safe, err := s.Allows(v.Version)
		require.NoError(t, err)
		require.True(t, safe, "%s %s is outside %v: %v", s.Component, v.Version, s.Safe, s.Records)
		checked[s.Component] = true
	}
	for key := range versions {
		// Caddy has no entry in the table of records.
		require.True(t, checked[key] || key == "caddy", "%s has no safe version to compare with", key)
	}
	require.Equal(t, versions["n8n"].Version, versions["n8n-runner"].Version, "runners must be of n8n's release")
}

func TestSafeVersionsRefuse(t *testing.T) {
	table, err := upstream.SafeVersions()
	require.NoError(t, err)
	for _, bad := range []struct{ component, version string }{
		{"n8n", "2.41.3"}, {"n8n", "2.42.0"}, {"n8n", "2.39.10"}, {"chatwoot", "4.15.1"}, {"redis", "8.6.2"},
		{"redis", "7.0.15"}, {"postgres", "17.10"}, {"postgres", "16.14"}, {"postgres", "15.18"}, {"evolution", "2.4.0"},
	} {
		for _, s := range table {
			if s.Component != bad.component {
				continue
			}
			safe, err := s.Allows(bad.version)
			require.NoError(t, err)
			require.False(t, safe, "%s %s", bad.component, bad.version)
		}
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	values := valid()
	values["plantao:prot"] = "8080"
	values["plantao:port"] = "http"
	values["plantao:timezone"] = "Brasilia"
	values["plantao:images"] = "mirror"
	values["plantao:adminEmail"] = "operadora@localhost"
	values["plantao:channels"] = `[{"name":"Loja 1","integration":"SMS","flow":""}]`
	values["docker:host"] = "not ours, so not judged"
	_, err := Parse(values)
	require.Error(t, err)
	for _, part := range []string{"plantao:prot is not a setting", `"http" is not a whole number`, "America/Sao_Paulo", "auto, registry, lab", "domain has a dot", "channels[0].name", "channels[0].integration", "channels[0].flow"} {
		require.ErrorContains(t, err, part)
	}
}

func TestConfigUnknownFieldOfChannel(t *testing.T) {
	values := valid()
	values["plantao:channels"] = `[{"name":"principal","integracao":"EVOLUTION"}]`
	_, err := Parse(values)
	require.ErrorContains(t, err, `unknown field "integracao"`)
}

func TestDevStackFileIsValid(t *testing.T) {
	raw, err := os.Open("../../Pulumi.dev.yaml")
	require.NoError(t, err)
	defer raw.Close()
	for s := bufio.NewScanner(raw); s.Scan(); {
		require.NotRegexp(t, `(?i)(password|secret|token|key):\s*\S`, s.Text())
	}
}

func TestMissingManifestSaysWhatToRun(t *testing.T) {
	_, err := component.ResolveImages("auto", t.TempDir())
	require.ErrorContains(t, err, "make images")
}
