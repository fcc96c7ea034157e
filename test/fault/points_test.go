package fault

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The failpoints, in the order a message meets them.
const (
	pointIngested = "ingest.committed"
	pointClaimed  = "dispatch.claimed"
	pointAnswered = "dispatch.answered"
	pointReplied  = "dispatch.replied"
	pointPassed   = "gate.passed"
	pointWriting  = "evolution.write"
	pointWritten  = "gate.written"
	pointVerb     = "verb.committed"
)

// hit is a failpoint that acted.
type hit struct {
	Replica string
	Point   string
	Action  string
	PID     int
}

// hits collects what the failpoints of all replicas did.
type hits struct {
	mu      sync.Mutex
	all     []hit
	changed chan struct{} // closed at the next hit
}

func newHits() *hits { return &hits{changed: make(chan struct{})} }

func (h *hits) add(one hit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, one)
	close(h.changed)
	h.changed = make(chan struct{})
}

// since returns the hits from the nth on, and a channel that closes when there are more.
func (h *hits) since(n int) ([]hit, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]hit(nil), h.all[n:]...), h.changed
}

func (h *hits) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// await waits for a hit after the nth that fits; false if ctx ended first.
func (h *hits) await(ctx context.Context, n int, fits func(hit) bool) (hit, bool) {
	for {
		list, more := h.since(n)
		for _, one := range list {
			if fits(one) {
				return one, true
			}
		}
		select {
		case <-ctx.Done():
			return hit{}, false
		case <-more:
		}
	}
}

// points arms the failpoints of one replica, through its restarts.
type points struct {
	path    string
	replica string
	hits    *hits

	mu    sync.Mutex
	conn  net.Conn
	pid   int
	armed map[string]string // point to "ACTION N": what a process that starts anew is told again
	clock chan time.Time    // what the wall clock of the process says, room for one
}

func newPoints(t testing.TB, dir, replica string, h *hits) *points {
	t.Helper()
	p := &points{path: filepath.Join(dir, replica+".sock"), replica: replica, hits: h, armed: map[string]string{}, clock: make(chan time.Time, 1)}
	listener, err := net.Listen("unix", p.path)
	if err != nil {
		t.Fatalf("listen for failpoints: %v", err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.hear(conn)
		}
	}()
	return p
}

// hear reads what a process says until it is gone.
func (p *points) hear(conn net.Conn) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 2 && words[0] == "hello":
			p.greet(conn, words[1])
		case len(words) == 3 && words[0] == "hit":
			p.mu.Lock()
			delete(p.armed, words[1])
			pid := p.pid
			p.mu.Unlock()
			p.hits.add(hit{Replica: p.replica, Point: words[1], Action: words[2], PID: pid})
		case len(words) == 2 && words[0] == "clock":
			nano, _ := strconv.ParseInt(words[1], 10, 64)
			p.clock <- time.Unix(0, nano)
		}
	}
}

func (p *points) greet(conn net.Conn, pid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = conn
	p.pid, _ = strconv.Atoi(pid)
	for name, how := range p.armed {
		p.tell("arm %s %s", name, how)
	}
}

// tell needs the lock. A process that is gone hears nothing; the next one is told when it greets.
func (p *points) tell(format string, args ...any) {
	if p.conn != nil {
		_, _ = fmt.Fprintf(p.conn, format+"\n", args...)
	}
}

// arm lets the nth hit from now do something, once.
func (p *points) arm(point, action string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed[point] = fmt.Sprintf("%s %d", action, n)
	p.tell("arm %s %s", point, p.armed[point])
}

// disarm forgets what is armed at these points; with none named, at all.
func (p *points) disarm(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(names) == 0 {
		clear(p.armed)
	}
	for _, name := range names {
		delete(p.armed, name)
	}
	p.tell("disarm")
	for name, how := range p.armed {
		p.tell("arm %s %s", name, how)
	}
}

// setClock lets the wall clock of the process be so far off and returns what it says then.
func (p *points) setClock(ctx context.Context, off time.Duration) (time.Time, error) {
	select {
	case <-p.clock: // of a call that was not waited for
	default:
	}
	p.mu.Lock()
	p.tell("clock %s", off)
	p.mu.Unlock()
	select {
	case now := <-p.clock:
		return now, nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("set clock of %s: %w", p.replica, ctx.Err())
	}
}
