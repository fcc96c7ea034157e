package evolution

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var tokenSecret = sha256.Sum256([]byte("hook-secret-of-the-tests"))

// sign makes a token by hand, so that what the library makes is not judged by itself.
func sign(header, claims string, key string) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	signed := part(header) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

func claims(change func(map[string]any), now time.Time) string {
	c := map[string]any{"iat": now.Unix(), "exp": now.Add(600 * time.Second).Unix(), "app": "evolution", "action": "webhook"}
	if change != nil {
		change(c)
	}
	text, _ := json.Marshal(c)
	return string(text)
}

func TestVerifyToken(t *testing.T) {
	t.Parallel()
	now, key := time.Unix(1_795_744_800, 0), TokenKey(tokenSecret)
	require.NoError(t, VerifyToken(sign(hs256, claims(nil, now), key), tokenSecret, now))
	at := func(d time.Duration) error {
		return VerifyToken(sign(hs256, claims(nil, now), key), tokenSecret, now.Add(d))
	}
	assert.NoError(t, at(659*time.Second), "clocks may differ by a minute")
	assert.ErrorContains(t, at(661*time.Second), "expired")
	assert.NoError(t, at(-59*time.Second))
	assert.ErrorContains(t, at(-61*time.Second), "future")

	good := strings.Split(sign(hs256, claims(nil, now), key), ".")
	sha384 := hmac.New(sha512.New384, []byte(key))
	other := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS384","typ":"JWT"}`)) + "." + good[1]
	sha384.Write([]byte(other))
	set := func(name string, v any) string {
		return sign(hs256, claims(func(c map[string]any) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}, now), key)
	}
	for name, token := range map[string]string{
		"none":                   "",
		"no JWT":                 "hook-secret-of-the-tests",
		"another key":            sign(hs256, claims(nil, now), "another"),
		"the secret itself":      sign(hs256, claims(nil, now), "hook-secret-of-the-tests"),
		"empty key":              sign(hs256, claims(nil, now), ""),
		"alg none":               base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + good[1] + ".",
		"alg None, signed":       sign(`{"alg":"None"}`, claims(nil, now), key),
		"another HMAC":           other + "." + base64.RawURLEncoding.EncodeToString(sha384.Sum(nil)),
		"RS256 named":            sign(`{"alg":"RS256"}`, claims(nil, now), key),
		"no signature":           good[0] + "." + good[1] + ".",
		"half a signature":       good[0] + "." + good[1] + "." + good[2][:20],
		"other claims":           good[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims(func(c map[string]any) { c["exp"] = 9e9 }, now))) + "." + good[2],
		"two dots more":          strings.Join(good, ".") + "..",
		"padded":                 good[0] + "." + good[1] + "." + good[2] + "=",
		"no exp":                 set("exp", nil),
		"no iat":                 set("iat", nil),
		"exp as text":            set("exp", "soon"),
		"exp in a hundred years": set("exp", now.Add(876000*time.Hour).Unix()),
		"another app":            set("app", "chatwoot"),
		"another action":         set("action", "send"),
		"not yet":                set("nbf", now.Add(time.Hour).Unix()),
		"too long":               strings.Repeat("A", maxTokenBytes+1),
		"null claims":            sign(hs256, "null", key),
		"claims that are a list": sign(hs256, "[]", key),
	} {
		err := VerifyToken(token, tokenSecret, now)
		if assert.Error(t, err, name) && len(token) > 10 {
			assert.NotContains(t, err.Error(), token[:10], name)
		}
	}
}

func FuzzVerifyToken(f *testing.F) {
	now := time.Unix(1_795_744_800, 0)
	f.Add(sign(hs256, claims(nil, now), TokenKey(tokenSecret)))
	f.Add(sign(`{"alg":"none"}`, claims(nil, now), ""))
	f.Add("a.b.c")
	good := sign(hs256, claims(nil, now), TokenKey(tokenSecret))
	f.Fuzz(func(t *testing.T, token string) {
		if err := VerifyToken(token, tokenSecret, now); err == nil && token != good {
			// Nobody who has not the key makes one; the fuzzer has it only in the seed.
			t.Fatalf("took %q", token)
		}
	})
}
