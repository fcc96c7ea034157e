package provider

import "github.com/pulumi/pulumi-go-provider/infer"

// Secret is a random value that never leaves the stack's encrypted state in clear.
type Secret struct{}

// SecretArgs are the inputs of [Secret].
type SecretArgs struct {
	// Length in characters; 0 means 40.
	Length int `pulumi:"length,optional"`
	// Alphabet is one of the names in alphabets; "" means "alphanumeric".
	Alphabet string `pulumi:"alphabet,optional"`
	// Bcrypt also derives a bcrypt hash, for services that take a password only hashed.
	Bcrypt bool `pulumi:"bcrypt,optional"`
	// Rotate is any text; a change of it makes a new value.
	Rotate string `pulumi:"rotate,optional"`
}

// SecretState is what the state holds.
type SecretState struct {
	SecretArgs
	// Value is the secret.
	Value string `pulumi:"value" provider:"secret"`
	// BcryptHash is empty unless asked for.
	BcryptHash string `pulumi:"bcryptHash" provider:"secret"`
}

// Annotate documents the resource for the schema.
func (s *Secret) Annotate(a infer.Annotator) {
	a.Describe(&s, "A random value from the system's cryptographic source, kept encrypted in the state.")
}

// Annotate documents the inputs for the schema.
func (s *SecretArgs) Annotate(a infer.Annotator) {
	a.Describe(&s.Length, "Length in characters, at least 22 (128 bits of the smallest alphabet but hex, which needs 32); 0: 40.")
	a.Describe(&s.Alphabet, "alphanumeric (default), hex, or password: letters, digits and signs with at least one of each kind.")
	a.Describe(&s.Bcrypt, "Also derive a bcrypt hash of the value.")
	a.Describe(&s.Rotate, "Any text; changing it makes a new value.")
}

// Annotate documents the outputs for the schema.
func (s *SecretState) Annotate(a infer.Annotator) {
	a.Describe(&s.Value, "The secret value.")
	a.Describe(&s.BcryptHash, "bcrypt hash of the value; empty unless asked for.")
}

// WireDependencies marks the drawn values secret for every caller, also one without our SDK.
func (Secret) WireDependencies(f infer.FieldSelector, _ *SecretArgs, state *SecretState) {
	f.OutputField(&state.Value).AlwaysSecret()
	f.OutputField(&state.BcryptHash).AlwaysSecret()
}
