package chatwoot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func signed(secret string, at time.Time, body string) Signed {
	s := Signed{Delivery: "7d2e4c1a", Timestamp: strconv.FormatInt(at.Unix(), 10)}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(s.Timestamp + "." + body))
	s.Signature = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return s
}

func TestSignature(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := signed("geheim", now, "{}")
	require.NoError(t, good.CheckHead(now))
	require.NoError(t, good.Check("geheim", []byte("{}")))
	require.ErrorIs(t, good.Check("geheim", []byte("{} ")), conversation.ErrBadSignature)
	require.ErrorIs(t, good.Check("other", []byte("{}")), conversation.ErrBadSignature)
	require.ErrorIs(t, signed("", now, "{}").Check("", []byte("{}")), conversation.ErrBadSignature, "no secret signs nothing")

	// The prefix is part of what is signed: a signature over the body alone is none.
	mac := hmac.New(sha256.New, []byte("geheim"))
	mac.Write([]byte("{}"))
	bare := good
	bare.Signature = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	require.ErrorIs(t, bare.Check("geheim", []byte("{}")), conversation.ErrBadSignature)

	for name, change := range map[string]func(*Signed){
		"no delivery":   func(s *Signed) { s.Delivery = "" },
		"odd delivery":  func(s *Signed) { s.Delivery = "a b" },
		"long delivery": func(s *Signed) { s.Delivery = string(make([]byte, 100)) },
		"no signature":  func(s *Signed) { s.Signature = "" },
		"other method":  func(s *Signed) { s.Signature = "sha1=" + s.Signature[7:] },
		"short":         func(s *Signed) { s.Signature = "sha256=00" },
		"no timestamp":  func(s *Signed) { s.Timestamp = "" },
		"plus sign":     func(s *Signed) { s.Timestamp = "+" + s.Timestamp },
	} {
		s := good
		change(&s)
		require.ErrorIs(t, s.CheckHead(now), conversation.ErrBadSignature, name)
	}
	require.NoError(t, good.CheckHead(now.Add(Freshness-time.Second)))
	require.ErrorIs(t, good.CheckHead(now.Add(Freshness+2*time.Second)), conversation.ErrStale)
	require.ErrorIs(t, good.CheckHead(now.Add(-Freshness-2*time.Second)), conversation.ErrStale)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Event{
		`{"event":"message_created","id":9,"source_id":null,"account":{"id":1},"inbox":{"id":2},"conversation":{"id":3,"inbox_id":2}}`: {
			"message_created", 1, 2, 3, true},
		`{"event":"message_updated","id":9,"source_id":"plantao:out:1/1/1","account":{"id":1},"inbox":{"id":2},"conversation":{"id":3}}`: {
			"message_updated", 1, 2, 3, false},
		`{"event":"conversation_updated","id":3,"inbox_id":2,"account":{"id":1},"changed_attributes":null}`: {"conversation_updated", 1, 2, 3, true},
		`{"event":"conversation_typing_on","user":{"id":4},"conversation":{"id":3,"inbox_id":2,"account":{"id":1}}}`: {
			"conversation_typing_on", 1, 2, 3, false},
		`{"event":"contact_updated","id":5,"account":{"id":1}}`: {"contact_updated", 1, 0, 0, false},
	} {
		got, err := Decode([]byte(body))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"event":""}`, `{"event":"a b"}`, `{"event":"conversation_updated"}`,
		`{"event":"conversation_updated","id":"x"}`, `{"event":"message_created","conversation":7}`, `{"event":1}`} {
		_, err := Decode([]byte(body))
		require.ErrorIs(t, err, conversation.ErrMalformed, body)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"event":"message_created","id":9,"source_id":null,"account":{"id":1},"inbox":{"id":2},"conversation":{"id":3,"inbox_id":2}}`))
	f.Add([]byte(`{"event":"conversation_status_changed","id":3,"inbox_id":2,"account":{"id":1},"changed_attributes":[{"status":{"previous_value":"open","current_value":"pending"}}]}`))
	f.Add([]byte(`{"event":"conversation_typing_on","conversation":{"id":3}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(body)
		if err != nil {
			require.ErrorIs(t, err, conversation.ErrMalformed)
			require.Zero(t, e)
			return
		}
		require.NotEmpty(t, e.Name)
		require.LessOrEqual(t, len(e.Name), maxEventBytes)
	})
}
