// Package redistest gives tests a real Redis: a server of its own for each test that asks for one, on a free port.
// Without the binary a test is skipped, and failed when CI=true.
package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const startTimeout = 20 * time.Second

// Server is one Redis.
type Server struct {
	URL string // redis://127.0.0.1:port/0

	t     testing.TB
	addr  string
	dir   string
	flags []string
	cmd   *exec.Cmd // the running server
	stop  func()
}

// New starts a server that keeps nothing on disk; flags of redis-server, as "--appendonly", "yes", override that. It stops
// when the test ends.
func New(t testing.TB, flags ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("find redis-server: %v; install the package redis-server", err)
		}
		t.Skipf("no redis: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	s := &Server{URL: "redis://" + addr + "/0", t: t, addr: addr, dir: t.TempDir(), flags: flags}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start runs the server, again after Stop, on the same port.
func (s *Server) Start() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	cmd := exec.Command("redis-server", append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "",
		"--appendonly", "no", "--dir", s.dir}, s.flags...)...)
	// The kernel ends the server with this process; the signal is tied to the thread that forked.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start redis: %v", err)
	}
	s.cmd = cmd
	s.stop = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	s.await()
}

// Stop ends the server at once.
func (s *Server) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Freeze stops the server's clock, as a host does that swaps: its port still accepts, and nothing answers until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server run on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal redis: %v", err)
	}
}

// Do sends one command, as FLUSHALL, and fails the test if it is refused.
func (s *Server) Do(args ...string) {
	s.t.Helper()
	if err := s.do(args...); err != nil {
		s.t.Fatalf("redis %v: %v", args, err)
	}
}

func (s *Server) do(args ...string) error {
	conn, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	command := "*" + strconv.Itoa(len(args)) + "\r\n"
	for _, a := range args {
		command += "$" + strconv.Itoa(len(a)) + "\r\n" + a + "\r\n"
	}
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(command)); err != nil {
		return err
	}
	var answer [64]byte
	n, err := conn.Read(answer[:])
	if err != nil {
		return err
	}
	if answer[0] == '-' {
		return fmt.Errorf("%s", answer[:n])
	}
	return nil
}

func (s *Server) await() {
	s.t.Helper()
	deadline := time.After(startTimeout)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.do("PING") != nil {
		select {
		case <-deadline:
			s.t.Fatalf("redis on %s did not start within %s", s.addr, startTimeout)
		case <-tick.C:
		}
	}
}
