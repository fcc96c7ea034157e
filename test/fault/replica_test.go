package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"plantao/runtime/conversation"
)

// replica is one slot of the router: a process that is started again whenever it dies, as Docker does.
type replica struct {
	name   string
	url    string
	binary string
	env    []string
	log    string
	points *points

	mu        sync.Mutex
	child     *child
	kills     int      // deaths by SIGKILL
	surprises []string // deaths nobody caused
}

// startReplica runs a slot until the test ends.
func startReplica(t testing.TB, r *replica) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.supervise(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		r.signal(syscall.SIGKILL)
		<-done
	})
}

func (r *replica) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		cmd := exec.Command(r.binary, "serve")
		cmd.Env = append(os.Environ(), r.env...)
		c, err := startChild(cmd, r.log)
		if err != nil {
			r.surprise(err.Error())
			return
		}
		r.mu.Lock()
		r.child = c
		r.mu.Unlock()
		stop := context.AfterFunc(ctx, func() { c.signal(syscall.SIGKILL) })
		<-c.ended
		stop()
		if ctx.Err() != nil {
			return
		}
		status, _ := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signaled() && status.Signal() == syscall.SIGKILL {
			r.mu.Lock()
			r.kills++
			r.mu.Unlock()
			continue
		}
		r.surprise(c.cmd.ProcessState.String())
		conversation.Pause(ctx, 100*time.Millisecond)
	}
}

func (r *replica) surprise(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.surprises = append(r.surprises, fmt.Sprintf("%s ended by itself: %s", r.name, how))
}

// signal sends one to the process that runs now and returns its id; zero if there is none.
func (r *replica) signal(s os.Signal) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.child == nil {
		return 0
	}
	r.child.signal(s)
	return r.child.cmd.Process.Pid
}

// kill ends the process that runs now, and waits for its end.
func (r *replica) kill() {
	r.mu.Lock()
	c := r.child
	r.mu.Unlock()
	c.end(syscall.SIGKILL)
}

// deaths is how often it was killed, and how it died otherwise.
func (r *replica) deaths() (int, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kills, append([]string(nil), r.surprises...)
}

// awaitReady waits until the replica says that it is ready. Whoever was on the way to a failpoint when that was disarmed stops
// there all the same, so it is told to go on until it answers.
func (r *replica) awaitReady(ctx context.Context) error {
	return eventually(ctx, r.name+" is ready", func() bool {
		r.signal(syscall.SIGCONT)
		return r.status(ctx, "/readyz") == http.StatusOK
	})
}

// status is the status of a GET; zero if nobody answered.
func (r *replica) status(ctx context.Context, path string) int {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// eventually waits until something is so, at most for patience.
func eventually(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

func logPath(dir, name string) string { return filepath.Join(dir, name+".log") }
