package provider

import (
	"strings"
	"testing"

	"github.com/blang/semver"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/integration"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

func server(t *testing.T) integration.Server {
	t.Helper()
	s, err := integration.NewServer(t.Context(), Name, semver.MustParse(Version), integration.WithProvider(New()))
	require.NoError(t, err)
	require.NoError(t, s.Configure(p.ConfigureRequest{}))
	return s
}

func urn(kind string) resource.URN {
	return resource.NewURN("dev", "plantao", "", tokens.Type("plantao:index:"+kind), "x")
}

func checkSecret(t *testing.T, s integration.Server, in map[string]property.Value) p.CheckResponse {
	t.Helper()
	r, err := s.Check(p.CheckRequest{Urn: urn("Secret"), Inputs: property.NewMap(in)})
	require.NoError(t, err)
	return r
}

func TestSecretLifecycle(t *testing.T) {
	s := server(t)
	checked := checkSecret(t, s, map[string]property.Value{"alphabet": property.New("password"), "bcrypt": property.New(true)})
	require.Empty(t, checked.Failures)

	preview, err := s.Create(p.CreateRequest{Urn: urn("Secret"), Properties: checked.Inputs, DryRun: true})
	require.NoError(t, err)
	require.True(t, preview.Properties.Get("value").HasComputed(), "a preview knows a value that was not drawn yet")

	one, err := s.Create(p.CreateRequest{Urn: urn("Secret"), Properties: checked.Inputs})
	require.NoError(t, err)
	two, err := s.Create(p.CreateRequest{Urn: urn("Secret"), Properties: checked.Inputs})
	require.NoError(t, err)
	value := one.Properties.Get("value")
	require.True(t, value.Secret(), "the value is not marked secret")
	require.Len(t, value.AsString(), defaultLength)
	require.True(t, hasAll(value.AsString(), alphabets["password"].classes))
	require.NotEqual(t, value.AsString(), two.Properties.Get("value").AsString())
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(one.Properties.Get("bcryptHash").AsString()), []byte(value.AsString())))

	same, err := s.Diff(p.DiffRequest{ID: one.ID, Urn: urn("Secret"), State: one.Properties, Inputs: checked.Inputs})
	require.NoError(t, err)
	require.False(t, same.HasChanges)
	rotated := checkSecret(t, s, map[string]property.Value{"alphabet": property.New("password"), "bcrypt": property.New(true), "rotate": property.New("2026-11")})
	diff, err := s.Diff(p.DiffRequest{ID: one.ID, Urn: urn("Secret"), State: one.Properties, Inputs: rotated.Inputs})
	require.NoError(t, err)
	require.Equal(t, p.UpdateReplace, diff.DetailedDiff["rotate"].Kind)
}

func TestSecretRefusesWeakOnes(t *testing.T) {
	s := server(t)
	for name, in := range map[string]map[string]property.Value{
		"short":            {"length": property.New(21.0)},
		"short hex":        {"length": property.New(31.0), "alphabet": property.New("hex")},
		"unknown alphabet": {"alphabet": property.New("emoji")},
		"bcrypt too long":  {"length": property.New(73.0), "bcrypt": property.New(true)},
	} {
		require.NotEmpty(t, checkSecret(t, s, in).Failures, name)
	}
}

func TestDrawUsesItsAlphabetOnly(t *testing.T) {
	for name, a := range alphabets {
		seen := map[rune]bool{}
		for range 200 {
			v, err := draw(name, 40)
			require.NoError(t, err)
			for _, r := range v {
				require.True(t, strings.ContainsRune(a.chars, r), "%s drew %q", name, r)
				seen[r] = true
			}
		}
		// 8,000 draws of at most 66 characters: a character that never came is a bug, not luck.
		require.Len(t, seen, len(a.chars), name)
	}
}

func TestFileVolumePreviewDialsNothing(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	s := server(t)
	in := property.NewMap(map[string]property.Value{
		"prefix": property.New("plantao-x-files"), "image": property.New("redis:8.6.3"),
		"files": property.New(property.NewMap(map[string]property.Value{"password": property.New("hunter2").WithSecret(true)})),
	})
	checked, err := s.Check(p.CheckRequest{Urn: urn("FileVolume"), Inputs: in})
	require.NoError(t, err)
	require.Empty(t, checked.Failures)
	_, err = s.Create(p.CreateRequest{Urn: urn("FileVolume"), Properties: checked.Inputs, DryRun: true})
	require.NoError(t, err)
	_, err = s.Create(p.CreateRequest{Urn: urn("FileVolume"), Properties: checked.Inputs})
	require.ErrorContains(t, err, "start Docker")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestFileVolumeRefusesPathsThatLeaveIt(t *testing.T) {
	s := server(t)
	for _, name := range []string{"../x", "/etc/passwd", "a/../../b", "a//b", ""} {
		r, err := s.Check(p.CheckRequest{Urn: urn("FileVolume"), Inputs: property.NewMap(map[string]property.Value{
			"prefix": property.New("p"), "image": property.New("i:1"),
			"files": property.New(property.NewMap(map[string]property.Value{name: property.New("x")})),
		})})
		require.NoError(t, err)
		require.NotEmpty(t, r.Failures, "%q was taken", name)
	}
}

func TestDigest(t *testing.T) {
	base := FileVolumeArgs{Files: map[string]string{"a": "b", "c": ""}}
	for name, other := range map[string]FileVolumeArgs{
		"content": {Files: map[string]string{"a": "B", "c": ""}},
		"shifted": {Files: map[string]string{"a": "", "c": "b"}},
		"joined":  {Files: map[string]string{"ab": "c"}},
		"owner":   {Files: base.Files, UID: 1},
		"more":    {Files: map[string]string{"a": "b", "c": "", "d": ""}},
	} {
		require.NotEqual(t, digestOf(base), digestOf(other), name)
	}
	require.Equal(t, digestOf(base), digestOf(FileVolumeArgs{Prefix: "x", Image: "y", Files: base.Files}))
}
