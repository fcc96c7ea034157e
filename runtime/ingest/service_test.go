package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// channels is a store that knows the channel "p", and counts who asks.
type channels struct {
	conversation.Inbox
	secret string
	asked  atomic.Int32
	let    chan struct{} // nil: answers at once
}

func (c *channels) Channel(ctx context.Context, name string) (conversation.Channel, error) {
	c.asked.Add(1)
	if c.let != nil {
		select {
		case <-c.let:
		case <-ctx.Done():
			return conversation.Channel{}, ctx.Err()
		}
	}
	if name != "p" {
		return conversation.Channel{}, conversation.ErrUnknownChannel
	}
	return conversation.Channel{Name: "p", HookSecretSHA256: sha256.Sum256([]byte(c.secret))}, nil
}

func newService(c *channels) *Service {
	return New(Config{Store: c, Logger: slog.New(slog.DiscardHandler),
		Verify: func(token string, sum [sha256.Size]byte, _ time.Time) error {
			if token == "signed" && sum == sha256.Sum256([]byte(c.secret)) {
				return nil
			}
			return errors.New("not signed")
		}})
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &channels{secret: "s"}
		s := newService(c)
		may := func(p conversation.HookProof) error {
			_, err := s.Authorize(t.Context(), "p", p)
			return err
		}
		require.ErrorIs(t, may(conversation.HookProof{}), conversation.ErrWrongSecret)
		require.ErrorIs(t, may(conversation.HookProof{Secret: "x"}), conversation.ErrWrongSecret)
		require.ErrorIs(t, may(conversation.HookProof{Token: "x"}), conversation.ErrWrongSecret)
		require.NoError(t, may(conversation.HookProof{Secret: "s"}))
		require.NoError(t, may(conversation.HookProof{Token: "signed"}))
		require.NoError(t, may(conversation.HookProof{Secret: "x", Token: "signed"}), "either is enough")
		require.NoError(t, may(conversation.HookProof{Secret: "s", Token: "x"}))
		asked := c.asked.Load()
		require.NoError(t, may(conversation.HookProof{Secret: "s"}))
		require.Equal(t, asked, c.asked.Load(), "it is believed for a while")
		c.secret = "rotated"
		require.NoError(t, may(conversation.HookProof{Secret: "rotated"}), "a new secret works at once")
		require.ErrorIs(t, may(conversation.HookProof{Secret: "s"}), conversation.ErrWrongSecret, "and the old one no more")
		c.secret = "again"
		require.NoError(t, may(conversation.HookProof{Secret: "rotated"}))
		time.Sleep(channelTTL)
		require.ErrorIs(t, may(conversation.HookProof{Secret: "rotated"}), conversation.ErrWrongSecret)
		_, err := s.Authorize(t.Context(), "q", conversation.HookProof{Secret: "s"})
		require.ErrorIs(t, err, conversation.ErrUnknownChannel)
	})
}

// An empty secret's hash is a hash too: a channel that has none lets nobody in.
func TestAuthorizeWithoutASecret(t *testing.T) {
	t.Parallel()
	s := newService(&channels{secret: ""})
	_, err := s.Authorize(t.Context(), "p", conversation.HookProof{})
	require.ErrorIs(t, err, conversation.ErrWrongSecret)
}

func TestWhoGuessesDoesNotHoldUpWhoIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &channels{secret: "s"}
		s := newService(c)
		_, err := s.Authorize(t.Context(), "p", conversation.HookProof{Secret: "s"})
		require.NoError(t, err)
		c.let = make(chan struct{})
		c.asked.Store(0)
		guessing, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		for range 50 {
			go func() { _, _ = s.Authorize(guessing, "x", conversation.HookProof{Secret: "guess"}) }()
		}
		synctest.Wait()
		require.EqualValues(t, lookupsAtOnce, c.asked.Load())
		_, err = s.Authorize(t.Context(), "p", conversation.HookProof{Secret: "s"})
		require.NoError(t, err)
		_, err = s.Authorize(guessing, "x", conversation.HookProof{Secret: "guess"})
		require.ErrorIs(t, err, conversation.ErrUnavailable)
	})
}
