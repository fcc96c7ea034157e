package provider

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"

	"github.com/google/uuid"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"golang.org/x/crypto/bcrypt"
)

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
	// signs are those that need no escaping in URLs' user part, env files, SQL and YAML.
	signs = "-_.~"

	defaultLength = 40
	// bcrypt ignores what is beyond 72 bytes; a longer password would be weaker than it looks.
	maxBcryptLength = 72
)

// alphabets are the character sets by name; minLength keeps every value at 128 bits or more.
var alphabets = map[string]struct {
	chars     string
	classes   []string
	minLength int
}{
	"alphanumeric": {lower + upper + digits, nil, 22},
	"hex":          {digits + "abcdef", nil, 32},
	"password":     {lower + upper + digits + signs, []string{lower, upper, digits, signs}, 22},
}

var (
	_ infer.CustomCheck[SecretArgs]               = Secret{}
	_ infer.CustomCreate[SecretArgs, SecretState] = Secret{}
	_ infer.CustomDiff[SecretArgs, SecretState]   = Secret{}
)

// Check fills defaults and refuses lengths under 128 bits.
func (Secret) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[SecretArgs], error) {
	args, failures, err := infer.DefaultCheck[SecretArgs](ctx, req.NewInputs)
	if err != nil || len(failures) > 0 {
		return infer.CheckResponse[SecretArgs]{Inputs: args, Failures: failures}, err
	}
	if args.Length == 0 {
		args.Length = defaultLength
	}
	if args.Alphabet == "" {
		args.Alphabet = "alphanumeric"
	}
	a, known := alphabets[args.Alphabet]
	switch {
	case !known:
		failures = append(failures, p.CheckFailure{Property: "alphabet", Reason: fmt.Sprintf("%q is none of alphanumeric, hex, password", args.Alphabet)})
	case args.Length < a.minLength:
		failures = append(failures, p.CheckFailure{Property: "length", Reason: fmt.Sprintf("%d %s characters are under 128 bits; use %d or more", args.Length, args.Alphabet, a.minLength)})
	case args.Bcrypt && args.Length > maxBcryptLength:
		failures = append(failures, p.CheckFailure{Property: "length", Reason: fmt.Sprintf("bcrypt reads only the first %d characters", maxBcryptLength)})
	}
	return infer.CheckResponse[SecretArgs]{Inputs: args, Failures: failures}, nil
}

// Create draws the value. In a preview the value is unknown.
func (Secret) Create(_ context.Context, req infer.CreateRequest[SecretArgs]) (infer.CreateResponse[SecretState], error) {
	state := SecretState{SecretArgs: req.Inputs}
	if req.DryRun {
		return infer.CreateResponse[SecretState]{Output: state}, nil
	}
	value, err := draw(req.Inputs.Alphabet, req.Inputs.Length)
	if err != nil {
		return infer.CreateResponse[SecretState]{}, err
	}
	state.Value = value
	if req.Inputs.Bcrypt {
		// n8n verifies the owner's hash at every login only; cost 12 is OWASP's floor plus two.
		hash, err := bcrypt.GenerateFromPassword([]byte(value), 12)
		if err != nil {
			return infer.CreateResponse[SecretState]{}, fmt.Errorf("derive bcrypt hash: %w", err)
		}
		state.BcryptHash = string(hash)
	}
	return infer.CreateResponse[SecretState]{ID: uuid.NewString(), Output: state}, nil
}

// Diff replaces on any change: a secret is never edited in place.
func (Secret) Diff(_ context.Context, req infer.DiffRequest[SecretArgs, SecretState]) (infer.DiffResponse, error) {
	diff := map[string]p.PropertyDiff{}
	replaceIf(diff, "length", req.State.Length != req.Inputs.Length)
	replaceIf(diff, "alphabet", req.State.Alphabet != req.Inputs.Alphabet)
	replaceIf(diff, "bcrypt", req.State.Bcrypt != req.Inputs.Bcrypt)
	replaceIf(diff, "rotate", req.State.Rotate != req.Inputs.Rotate)
	return infer.DiffResponse{HasChanges: len(diff) > 0, DetailedDiff: diff}, nil
}

// draw makes length characters of the named alphabet, with one of each class where it has classes.
func draw(alphabet string, length int) (string, error) {
	a := alphabets[alphabet]
	limit := big.NewInt(int64(len(a.chars)))
	for {
		var b strings.Builder
		for range length {
			i, err := rand.Int(rand.Reader, limit)
			if err != nil {
				return "", fmt.Errorf("read random bytes: %w", err)
			}
			b.WriteByte(a.chars[i.Int64()])
		}
		if hasAll(b.String(), a.classes) {
			return b.String(), nil
		}
	}
}

func hasAll(s string, classes []string) bool {
	for _, c := range classes {
		if !strings.ContainsAny(s, c) {
			return false
		}
	}
	return true
}

// replaceIf notes that a property changed and that the change needs a new resource.
func replaceIf(diff map[string]p.PropertyDiff, property string, changed bool) {
	if changed {
		diff[property] = p.PropertyDiff{Kind: p.UpdateReplace}
	}
}
