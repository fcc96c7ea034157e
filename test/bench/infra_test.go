//go:build e2e

// Package bench measures, side by side and in one run; it never fails because a machine is slow.
package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/e2e/devstack"
	"plantao/test/figure"
)

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
		ups = append(ups, s.MustUpUnchanged(t).Took)
		previews = append(previews, s.MustPreviewUnchanged(t).Took)
	}
	t.Logf("no-op up %v, no-op preview %v", ups, previews)
	figure.Seconds("noop-up", median(ups), 15*time.Second).Print()
	figure.Seconds("noop-preview", median(previews), 8*time.Second).Print()
	figure.Megabytes("router-image", imageSize(t, s), 20).Print()
	figure.Megabytes("router-idle-rss", rss(t, s.PID(t, "router-1")), 20).Print()
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

// rss is the resident memory of a process in bytes (VmRSS of proc(5)).
func rss(t *testing.T, pid int) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			require.NoError(t, err)
			return kb << 10
		}
	}
	t.Fatalf("no VmRSS of process %d", pid)
	return 0
}
