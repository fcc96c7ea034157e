package builder

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress prints what is being built, a whole line at a time. Safe for concurrent use.
type Progress struct {
	mu sync.Mutex
	w  io.Writer
}

// NewProgress prints to w.
func NewProgress(w io.Writer) *Progress { return &Progress{w: w} }

// Printf prints one line about the image key.
func (p *Progress) Printf(key, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Losing a progress line must not fail a build.
	_, _ = fmt.Fprintf(p.w, "lab: %-12s %s\n", key, fmt.Sprintf(format, args...))
}

// Write passes a build's own output through.
func (p *Progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Write(text)
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
