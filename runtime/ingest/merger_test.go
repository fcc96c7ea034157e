package ingest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// pairs are conflicts and how each ends.
type pairs struct {
	mu    sync.Mutex // held by each look's beginning, and by who looks at what came of it
	list  []conversation.Conflict
	fate  map[conversation.ID]error
	asked []conversation.ID
	down  bool
}

func (p *pairs) Conflicts(_ context.Context, limit int) ([]conversation.Conflict, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("down")
	}
	return slices.Clone(p.list[:min(limit, len(p.list))]), nil
}

func (p *pairs) Merge(_ context.Context, _ string, a, b conversation.ID) (conversation.Joined, error) {
	p.asked = append(p.asked, a)
	if err := p.fate[a]; err != nil {
		if errors.Is(err, conversation.ErrOnTheWire) {
			p.list = slices.DeleteFunc(p.list, func(c conversation.Conflict) bool { return c.A == a })
		}
		return conversation.Joined{}, err
	}
	p.list = slices.DeleteFunc(p.list, func(c conversation.Conflict) bool { return c.A == a })
	return conversation.Joined{Stays: a, Goes: b, Moved: int(a % 2), Already: a > 1000}, nil
}

type counted map[string]int

func (c counted) Merged(outcome string) { c[outcome]++ }

func TestMergerGetsThroughAndPassesOverWhatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := &pairs{fate: map[conversation.ID]error{3: conversation.ErrOnTheWire, 5: errors.New("torn page")}}
		for i := range 120 {
			store.list = append(store.list, conversation.Conflict{Tenant: "t", A: conversation.ID(i + 1), B: 999})
		}
		store.list = append(store.list, conversation.Conflict{A: 1001}, conversation.Conflict{A: 1002})
		outcomes, changed := counted{}, 0
		m := NewMerger(MergerConfig{Store: store, Every: time.Second, Changed: func() { changed++ }, Observer: outcomes, Logger: slog.New(slog.DiscardHandler)})
		go m.Run(ctx)
		time.Sleep(500 * time.Millisecond)
		store.mu.Lock()
		require.Empty(t, store.asked)
		store.mu.Unlock()
		for range 3 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		require.Equal(t, []conversation.Conflict{{Tenant: "t", A: 5, B: 999}}, store.list, "one that fails holds up no other")
		require.Equal(t, []int{118, 1, 1}, []int{outcomes["merged"], outcomes["followed"], outcomes["waits"]})
		require.GreaterOrEqual(t, outcomes["failed"], 2, "and is tried again")
		require.Equal(t, 120, changed)
		store.mu.Lock()
		asked := len(store.asked)
		store.down = true
		store.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, store.asked, asked)
		cancel()
	})
}
