package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a held lock is tried again; flock has no wait that a context could end.
const lockPoll = 200 * time.Millisecond

// lock keeps other runs of setup, of this clone or another, from making the same thing. It is the kernel's (flock):
// a holder that dies, however it dies, leaves it free, so there is no stale lock to recognise. The file stays.
func (c *cache) lock(ctx context.Context, name string) (unlock func(), err error) {
	dir := filepath.Join(c.root, "lock")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // in our own cache folder
		return nil, fmt.Errorf("make the lock folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // in our own cache folder
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	told := false
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %q: %w", file.Name(), err)
		}
		if !told {
			c.report.say(keyWaitingForOther, name)
			told = true
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("wait for the lock %q: %w", file.Name(), ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}
