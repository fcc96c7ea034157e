package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the tests start this program again as another process that holds a lock.
func TestMain(m *testing.M) {
	if root := os.Getenv("SETUP_TEST_LOCK_ROOT"); root != "" {
		holdLock(root)
	}
	if path := os.Getenv("SETUP_TEST_APT_LOCK"); path != "" {
		holdAptLock(path)
	}
	os.Exit(m.Run())
}

// holdLock takes the cache's lock "thing", says so, and keeps it until its stdin ends or it is killed.
func holdLock(root string) {
	c := newCache(root, &reporter{out: os.Stderr, texts: catalogue{}})
	unlock, err := c.lock(context.Background(), "thing")
	sayAndWait(err)
	unlock()
	os.Exit(0)
}

func holdAptLock(path string) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	}
	sayAndWait(err)
	os.Exit(0)
}

func sayAndWait(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("locked")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// startHolder starts such a process and returns once it has the lock. release lets it go on and end.
func startHolder(t *testing.T, env string) (cmd *exec.Cmd, release func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked\n", line)
	return cmd, func() { _ = stdin.Close() }
}

func TestLockOfAnotherProcessIsAwaitedAndTold(t *testing.T) {
	r, said := newTestReporter(t)
	c := newCache(t.TempDir(), r)
	_, release := startHolder(t, "SETUP_TEST_LOCK_ROOT="+c.root)

	got := make(chan error, 1)
	go func() {
		unlock, err := c.lock(t.Context(), "thing")
		if err == nil {
			unlock()
		}
		got <- err
	}()
	require.Eventually(t, func() bool { return strings.Contains(said.String(), "another setup") }, 10*time.Second, 10*time.Millisecond)
	select {
	case <-got:
		t.Fatal("the lock was given while another process holds it")
	default:
	}
	release()
	require.NoError(t, <-got)
}

func TestLockOfAKilledProcessIsFree(t *testing.T) {
	c := newTestCache(t)
	holder, _ := startHolder(t, "SETUP_TEST_LOCK_ROOT="+c.root)
	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	unlock, err := c.lock(ctx, "thing")
	require.NoError(t, err)
	unlock()
}

func TestLockEndsWithItsContext(t *testing.T) {
	c := newTestCache(t)
	unlock, err := c.lock(t.Context(), "thing")
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.lock(ctx, "thing")
	require.ErrorIs(t, err, context.Canceled)
}
