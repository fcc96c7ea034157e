package evolution

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of a webhook's token. Evolution signs one for each request, for ten minutes (facts §8.4).
const (
	tokenLife     = 600 * time.Second
	tokenSkew     = 60 * time.Second // how far its clock may be from ours
	maxTokenBytes = 2048
)

// tokenClaims are what Evolution says in a token: that it is the one who sends, and a webhook what it sends.
type tokenClaims struct {
	jwt.RegisteredClaims
	App    string `json:"app"`
	Action string `json:"action"`
}

// Validate implements jwt.ClaimsValidator.
func (c tokenClaims) Validate() error {
	switch {
	case c.App != "evolution" || c.Action != "webhook":
		return errors.New("made for something else")
	case c.IssuedAt == nil || c.ExpiresAt == nil:
		return errors.New("has no iat or no exp")
	case c.ExpiresAt.Sub(c.IssuedAt.Time) > tokenLife:
		return errors.New("is good for longer than Evolution makes them")
	}
	return nil
}

// TokenKey is the jwt_key Evolution is given for a channel: the hook secret's SHA-256 in hex, which is what the database keeps.
// Whoever reads the database can so make tokens; the secret itself, as the header carries it, is nowhere (ADR 0009).
func TokenKey(secretSHA256 [sha256.Size]byte) string { return hex.EncodeToString(secretSHA256[:]) }

// VerifyToken says whether the token was signed with a channel's key, for a webhook, and is good now. The signature is compared in
// constant time. The error says what is wrong and holds nothing of the token.
func VerifyToken(token string, secretSHA256 [sha256.Size]byte, now time.Time) error {
	if len(token) > maxTokenBytes {
		return errors.New("webhook token is too long")
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(tokenSkew), jwt.WithStrictDecoding(), jwt.WithTimeFunc(func() time.Time { return now }))
	_, err := parser.ParseWithClaims(token, &tokenClaims{}, func(*jwt.Token) (any, error) { return []byte(TokenKey(secretSHA256)), nil })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenExpired):
		return errors.New("webhook token has expired; compare the clocks of Evolution and router")
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return errors.New("webhook token is from the future; compare the clocks of Evolution and router")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errors.New("webhook token is signed with another key or algorithm")
	}
	return errors.New("webhook token is not one of Evolution's")
}
