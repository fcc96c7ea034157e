//go:build e2e

// Package bench measures, side by side and in one run; it never fails because a machine is slow.
package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/e2e/devstack"
	"plantao/test/figure"
)

// sheet is what this run measured.
var sheet figure.Sheet

func TestMain(m *testing.M) {
	code := m.Run()
	sheet.Print()
	os.Exit(code)
}

// TestInfra measures an unchanged stack and the router's footprint.
func TestInfra(t *testing.T) {
	rounds := 5
	if os.Getenv("SMOKE") != "" {
		rounds = 2
	}
	s := devstack.New(t)
	first := s.MustUp(t)
	t.Logf("first up: %s", first.Took.Round(100*time.Millisecond))
	var ups, previews []time.Duration
	for range rounds {
		up, preview := s.MustUp(t), s.MustPreview(t)
		// A time of something that changed would be no no-op's.
		require.Zero(t, up.Changes(t)+preview.Changes(t), up.Out+preview.Out)
		ups, previews = append(ups, up.Took), append(previews, preview.Took)
	}
	t.Logf("no-op up %v, no-op preview %v", ups, previews)
	sheet.Add(figure.Seconds("setup-again", setupAgain(t, s), 2*time.Second))
	sheet.Add(figure.Seconds("noop-up", median(ups), 15*time.Second))
	sheet.Add(figure.Seconds("noop-preview", median(previews), 8*time.Second))
	sheet.Add(figure.Megabytes("router-image", imageSize(t, s), 20))
	sheet.Add(figure.Megabytes("router-idle-rss", memoryOf(t, s.PID(t, "router-1"), "VmRSS"), 20))
}

// setupAgain is `make setup` on a machine that has everything.
func setupAgain(t *testing.T, s *devstack.Stack) time.Duration {
	t.Helper()
	run := func() time.Duration {
		cmd := exec.CommandContext(t.Context(), "make", "-C", s.Root, "setup")
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return time.Since(begin)
	}
	run()
	return run()
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func imageSize(t *testing.T, s *devstack.Stack) int64 {
	t.Helper()
	info, err := s.Docker.ContainerInspect(t.Context(), s.Container("router-1"))
	require.NoError(t, err)
	image, err := s.Docker.ImageInspect(context.Background(), info.Image)
	require.NoError(t, err)
	return image.Size
}

// memoryOf is a process's memory in bytes: VmRSS, what is resident, or VmHWM, the most that ever was (proc(5)).
func memoryOf(t *testing.T, pid int, field string) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			require.NoError(t, err)
			return kb << 10
		}
	}
	t.Fatalf("no %s of process %d", field, pid)
	return 0
}
