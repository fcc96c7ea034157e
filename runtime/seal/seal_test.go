package seal

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func sealer(t *testing.T, key byte, purpose string) *Sealer {
	t.Helper()
	s, err := New(bytes.Repeat([]byte{key}, MinKeyBytes), purpose)
	require.NoError(t, err)
	return s
}

func TestOpensOnlyWhatItSealedForThis(t *testing.T) {
	t.Parallel()
	s := sealer(t, 1, "a")
	sealed, err := s.Seal("geheim", "principal", "bot_token")
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "geheim")
	got, err := sealer(t, 1, "a").Open(sealed, "principal", "bot_token")
	require.NoError(t, err)
	require.Equal(t, "geheim", got)

	for name, try := range map[string]func() (string, error){
		"another field":   func() (string, error) { return s.Open(sealed, "principal", "user_token") },
		"shifted fields":  func() (string, error) { return s.Open(sealed, "principalbot", "_token") },
		"one field":       func() (string, error) { return s.Open(sealed, "principalbot_token") },
		"another key":     func() (string, error) { return sealer(t, 2, "a").Open(sealed, "principal", "bot_token") },
		"another purpose": func() (string, error) { return sealer(t, 1, "b").Open(sealed, "principal", "bot_token") },
		"empty":           func() (string, error) { return s.Open(nil, "principal", "bot_token") },
		"another version": func() (string, error) {
			return s.Open(append([]byte{2}, sealed[1:]...), "principal", "bot_token")
		},
	} {
		_, err := try()
		require.ErrorIs(t, err, ErrOpen, name)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := s.Open(changed, "principal", "bot_token")
		require.ErrorIs(t, err, ErrOpen, "byte %d", i)
	}
}

func TestSealsTheSameTwiceInDifferentWays(t *testing.T) {
	t.Parallel()
	s := sealer(t, 1, "a")
	first, err := s.Seal("x")
	require.NoError(t, err)
	second, err := s.Seal("x")
	require.NoError(t, err)
	require.NotEqual(t, first, second)
}

func TestShortKeysAreRefused(t *testing.T) {
	t.Parallel()
	_, err := New(make([]byte, MinKeyBytes-1), "a")
	require.ErrorContains(t, err, "at least 32")
}

func TestPrintsRedacted(t *testing.T) {
	t.Parallel()
	s := sealer(t, 1, "a")
	require.Equal(t, "[redacted] [redacted] [redacted]", fmt.Sprintf("%v %+v %#v", s, s, s))
}
