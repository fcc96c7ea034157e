package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
)

func recoverCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "recover", Args: cobra.NoArgs,
		Short: "After a failover or a restore: give the conversations that were suspended by it back to their AIs",
		Long: "After a failover or a restore: give the conversations that were suspended by it back to their AIs.\n\n" +
			"The database may have lost the last commits: that a human took over, or that an answer went out. Compare the\n" +
			"suspended conversations with the phone first; take those that a human should have.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(o, func(s *postgres.Store) error { return resumeAll(cmd.Context(), o, s) })
		},
	}
}

// resumeAll resumes what recover suspended, and nothing an operator holds.
func resumeAll(ctx context.Context, o *options, s *postgres.Store) error {
	resumed, left := 0, 0
	var after conversation.ID
	for {
		page, err := s.List(ctx, conversation.Filter{Tenant: conversation.DefaultTenant, State: conversation.Suspended, After: after})
		if err != nil {
			return err
		}
		for _, c := range page {
			after = c.ID
			ours, err := suspendedByRecovery(ctx, s, c)
			if err != nil {
				return err
			}
			if !ours {
				continue
			}
			_, err = s.Do(ctx, conversation.Command{Verb: conversation.VerbResume, Tenant: c.Tenant, Conversation: c.ID, IfEpoch: c.Epoch,
				Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "recover"}, Reason: "recovered"})
			switch {
			case err == nil:
				resumed++
			case errors.Is(err, conversation.ErrAtCapacity):
				left++
				fmt.Fprintf(o.stderr, "conversation %s stays suspended: %s is at its capacity\n", c.ID, c.Held.Owner)
			case !errors.Is(err, conversation.ErrStaleEpoch) && !errors.Is(err, conversation.ErrWrongState):
				return err
			}
		}
		if len(page) == 0 {
			break
		}
	}
	_, err := fmt.Fprintf(o.stdout, "%d conversations resumed, %d left suspended\n", resumed, left)
	return err
}

func suspendedByRecovery(ctx context.Context, s *postgres.Store, c conversation.Conversation) (bool, error) {
	trail, err := s.Trail(ctx, c.Tenant, c.ID, c.Version-1, 1)
	if err != nil || len(trail) == 0 {
		return false, err
	}
	return trail[0].Verb == conversation.VerbRecover, nil
}
