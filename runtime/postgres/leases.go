package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	acquireLeaseSQL = query("acquire_lease")
	leaseHolderSQL  = query("lease_holder")
	renewLeaseSQL   = query("renew_lease")
	releaseLeaseSQL = query("release_lease")
)

// Leases is the conversation lock while Redis is away. It implements conversation.Locker.
type Leases struct{ s *Store }

var _ conversation.Locker = Leases{}

// Leases is the store's own lock.
func (s *Store) Leases() Leases { return Leases{s} }

// Acquire implements conversation.Locker.
func (l Leases) Acquire(ctx context.Context, r conversation.LockRequest) error {
	ok, err := l.s.one(ctx, acquireLeaseSQL, r.Tenant, r.Conversation, r.Fence, r.Token, r.TTL)
	if err != nil {
		return fmt.Errorf("acquire lease on conversation %s: %w: %w", r.Conversation, conversation.ErrUnavailable, err)
	}
	if ok {
		return nil
	}
	return l.held(ctx, r)
}

func (l Leases) held(ctx context.Context, r conversation.LockRequest) error {
	var (
		by      conversation.HeldError
		seconds float64
	)
	err := l.s.pool.QueryRow(ctx, leaseHolderSQL, r.Tenant, r.Conversation).Scan(&by.Fence, &seconds)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &by // released this moment: the caller may try again at once
	case err != nil:
		return fmt.Errorf("find lease on conversation %s: %w: %w", r.Conversation, conversation.ErrUnavailable, err)
	case by.Fence > r.Fence:
		return fmt.Errorf("acquire lease on conversation %s: %w", r.Conversation, conversation.ErrStaleEpoch)
	}
	by.Free = remaining(seconds)
	return &by
}

// Renew implements conversation.Locker.
func (l Leases) Renew(ctx context.Context, r conversation.LockRequest) error {
	ok, err := l.s.one(ctx, renewLeaseSQL, r.Tenant, r.Conversation, r.Token, r.TTL)
	return l.ours("renew", r, ok, err)
}

// Release implements conversation.Locker.
func (l Leases) Release(ctx context.Context, r conversation.LockRequest) error {
	ok, err := l.s.one(ctx, releaseLeaseSQL, r.Tenant, r.Conversation, r.Token)
	return l.ours("release", r, ok, err)
}

func (Leases) ours(verb string, r conversation.LockRequest, ok bool, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s lease on conversation %s: %w: %w", verb, r.Conversation, conversation.ErrUnavailable, err)
	case !ok:
		return fmt.Errorf("%s lease on conversation %s: %w", verb, r.Conversation, conversation.ErrLockLost)
	}
	return nil
}
