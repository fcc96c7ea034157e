package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
)

// ingressService is the service that publishes the stack's port.
const ingressService = "ingress"

func (m *Machine) port(ctx context.Context) Finding {
	info, dockerErr := m.engineInfo(ctx)
	if dockerErr == nil {
		holder, err := m.Engine.PortHolder(ctx, m.Port)
		if err == nil && holder != nil {
			return m.heldBy(*holder)
		}
		if !m.Engine.Local() && !m.onThisMachine(info) {
			return ok(text.New(text.PortRemote, m.Port, m.Engine.Host()))
		}
	}
	err := m.Listen(ctx, fmt.Sprintf("127.0.0.1:%d", m.Port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fail(m.holder(), text.New(text.PortFix, m.Port, m.Stack))
	// Only root may bind a low port, but it is Docker that will: what counts is that nobody listens.
	case errors.Is(err, fs.ErrPermission) && len(m.listening()) > 0:
		return fail(m.holder(), text.New(text.PortFix, m.Port, m.Stack))
	case err != nil && !errors.Is(err, fs.ErrPermission):
		return warn(text.New(text.LookFailed, err), text.New(text.PortFix, m.Port, m.Stack))
	}
	return ok(text.New(text.PortFree, m.Port))
}

// onThisMachine recognises a local engine behind a TCP address: its data is on our disk.
func (m *Machine) onThisMachine(info engine.Info) bool {
	_, err := os.Stat(info.DataRoot)
	return err == nil && strings.Contains(m.Engine.Host(), "127.0.0.1")
}

func (m *Machine) heldBy(c engine.Container) Finding {
	if c.Stack == m.Stack && c.Service == ingressService {
		return ok(text.New(text.PortOurs, m.Port, m.Stack))
	}
	if c.Stack != "" {
		return fail(text.New(text.PortOtherStack, m.Port, c.Stack), text.New(text.PortFix, m.Port, m.Stack))
	}
	return fail(text.New(text.PortContainer, m.Port, c.Name, c.Image), text.New(text.PortContainerFix, c.Name, m.Stack))
}

// holder names the process that listens on the port, as far as this user may know.
func (m *Machine) holder() text.Message {
	if pid, name := m.process(m.listening()); pid != 0 {
		return text.New(text.PortProcess, m.Port, name, pid)
	}
	if !m.Root {
		return text.New(text.PortSomebodyElse, m.Port)
	}
	return text.New(text.PortSomebody, m.Port)
}

// listening are the inodes of the sockets that listen on the port, as /proc/net/tcp lists them
// (proc(5): local address in hex, state 0A is LISTEN, tenth field is the inode).
func (m *Machine) listening() map[string]bool {
	inodes := map[string]bool{}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		body, err := os.ReadFile(filepath.Join(m.Proc, table))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(body)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[3] != "0A" {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil && int(port) == m.Port {
				inodes[fields[9]] = true
			}
		}
	}
	return inodes
}

// process finds who has one of the sockets open. Other users' processes show only to root.
func (m *Machine) process(inodes map[string]bool) (pid int, name string) {
	if len(inodes) == 0 {
		return 0, ""
	}
	links, _ := filepath.Glob(filepath.Join(m.Proc, "[0-9]*", "fd", "*"))
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if !isSocket || !inodes[strings.TrimSuffix(inode, "]")] {
			continue
		}
		folder := filepath.Dir(filepath.Dir(link))
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join(folder, "comm"))
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}
