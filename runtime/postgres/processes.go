package postgres

import (
	"context"
	"fmt"

	"plantao/runtime/conversation"
)

var (
	bootSQL = query("boot")
	seenSQL = query("seen")
)

// Boot implements conversation.Processes.
func (s *Store) Boot(ctx context.Context, p conversation.Process) error {
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, bootSQL, p.Instance, p.Boot)
		return err
	})
	if err != nil {
		return fmt.Errorf("enter process %q: %w", p.Instance, err)
	}
	return nil
}

// Seen implements conversation.Processes.
func (s *Store) Seen(ctx context.Context, p conversation.Process) error {
	tag, err := s.pool.Exec(ctx, seenSQL, p.Instance, p.Boot)
	if err != nil {
		return fmt.Errorf("show process %q alive: %w", p.Instance, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("show process %q alive: %w", p.Instance, conversation.ErrSuperseded)
	}
	return nil
}
