// Package seal keeps secrets of neighbours in the database such that the database alone does not give them away: AES-256-GCM
// under a key derived from one the routers share. What a secret is for is bound in, so that none can be put in another's place.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// MinKeyBytes is the least length of the key a sealer is made from.
const MinKeyBytes = 32

// version is the first byte of what is sealed; another way of sealing gets another.
const version = 1

// ErrOpen is what was not sealed with this key for this purpose, or was changed since.
var ErrOpen = errors.New("sealed secret cannot be opened")

// Sealer is safe for concurrent use. It never prints its key.
type Sealer struct{ aead cipher.AEAD }

// New derives a key of its own from the shared one: what it seals is of no use for what else the shared key is for. Purpose
// names the derivation, such as "plantao chatwoot 1".
func New(shared []byte, purpose string) (*Sealer, error) {
	if len(shared) < MinKeyBytes {
		return nil, fmt.Errorf("the key to seal with has %d bytes, needs at least %d", len(shared), MinKeyBytes)
	}
	key, err := hkdf.Key(sha256.New, shared, nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("prepare cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("prepare cipher: %w", err)
	}
	return &Sealer{aead: aead}, nil
}

// Seal encrypts the secret for what about names: the fields are bound in one by one. The result is version, nonce, ciphertext.
func (s *Sealer) Seal(secret string, about ...string) ([]byte, error) {
	sealed := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(secret)+s.aead.Overhead())
	sealed[0] = version
	if _, err := rand.Read(sealed[1:]); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return s.aead.Seal(sealed, sealed[1:], []byte(secret), bind(about)), nil //nolint:gosec // the nonce was drawn two lines above
}

// Open gives the secret back; ErrOpen if it was sealed with another key or for something else.
func (s *Sealer) Open(sealed []byte, about ...string) (string, error) {
	n := 1 + s.aead.NonceSize()
	if len(sealed) < n || sealed[0] != version {
		return "", ErrOpen
	}
	secret, err := s.aead.Open(nil, sealed[1:n], sealed[n:], bind(about))
	if err != nil {
		return "", ErrOpen
	}
	return string(secret), nil
}

// bind precedes each field by its length, so that no two lists of fields are one text.
func bind(about []string) []byte {
	var b []byte
	for _, field := range about {
		b = fmt.Appendf(b, "%d:%s", len(field), field)
	}
	return b
}

// String hides the key from every printing verb.
func (*Sealer) String() string { return "[redacted]" }

// GoString hides the key from %#v.
func (*Sealer) GoString() string { return "[redacted]" }
