//go:build failpoints

package failpoint

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// point is what is armed at a name.
type point struct {
	action string
	left   int // hits until it acts
}

var (
	mu    sync.Mutex
	armed = map[string]*point{}
	conn  net.Conn // nil: nobody is there to arm anything
)

func init() {
	path := os.Getenv("PLANTAO_FAILPOINTS")
	if path == "" {
		return
	}
	var err error
	if conn, err = net.Dial("unix", path); err != nil {
		fmt.Fprintln(os.Stderr, "failpoints:", err)
		os.Exit(3)
	}
	tell("hello %d", os.Getpid())
	go obey()
}

// Hit does what is armed at the name, if it is the turn of this hit.
func Hit(name string) {
	mu.Lock()
	p := armed[name]
	if p == nil {
		mu.Unlock()
		return
	}
	if p.left--; p.left > 0 {
		mu.Unlock()
		return
	}
	delete(armed, name)
	mu.Unlock()
	tell("hit %s %s", name, p.action)
	act(p.action)
}

// tell writes a line. The kernel has it when this returns, so that a kill right after does not lose it.
func tell(format string, args ...any) {
	_, _ = fmt.Fprintf(conn, format+"\n", args...) // without a test at the other end there is nobody to tell
}

func act(action string) {
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		// To this very thread: it must not run on while another one takes the signal.
		runtime.LockOSThread()
		_ = syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGSTOP)
		runtime.UnlockOSThread()
	default:
		wait, err := time.ParseDuration(action)
		if err != nil {
			panic(fmt.Sprintf("failpoint: action %q is none of kill, stop, a duration", action))
		}
		time.Sleep(wait)
	}
}

// obey reads commands until the test hangs up.
func obey() {
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 4 && words[0] == "arm":
			n, err := strconv.Atoi(words[3])
			if err != nil || n < 1 {
				panic("failpoint: " + lines.Text())
			}
			mu.Lock()
			armed[words[1]] = &point{action: words[2], left: n}
			mu.Unlock()
		case len(words) == 1 && words[0] == "disarm":
			mu.Lock()
			clear(armed)
			mu.Unlock()
		case len(words) == 2 && words[0] == "clock":
			off, err := time.ParseDuration(words[1])
			if err != nil {
				panic("failpoint: " + lines.Text())
			}
			jump(off)
			tell("clock %d", time.Now().UnixNano())
		default:
			panic("failpoint: " + lines.Text())
		}
	}
}
