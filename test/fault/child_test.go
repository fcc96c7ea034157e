package fault

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// child is a process the kernel ends with this one.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it is gone; cmd.ProcessState is set then
}

// startChild starts a process that appends to a log. Pdeathsig is tied to the thread that forked, so that thread is kept.
func startChild(cmd *exec.Cmd, logPath string) (*child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(c.ended)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in ProcessState
		}
	}()
	return c, <-started
}

// signal sends a signal, to a process that is gone without effect.
func (c *child) signal(s os.Signal) { _ = c.cmd.Process.Signal(s) }

// end sends a signal and waits for the end.
func (c *child) end(s os.Signal) {
	c.signal(s)
	<-c.ended
}

// freeAddress is one on which nothing listens. It is below the range the kernel takes the ports of outgoing connections from
// (ip_local_port_range): whatever is cut off or killed here comes back on its port, and must find it free.
func freeAddress() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(15000+rand.IntN(17000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("find a free port below 32000")
}

// tail is the end of a log.
func tail(path string, bytes int) string {
	data, _ := os.ReadFile(path)
	return string(data[max(0, len(data)-bytes):])
}
