package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// engineLog is the part of the engine the host speaks to.
type engineLog struct {
	pulumirpc.UnimplementedEngineServer
	lines chan string
}

func (e *engineLog) Log(_ context.Context, req *pulumirpc.LogRequest) (*emptypb.Empty, error) {
	e.lines <- req.GetMessage()
	return &emptypb.Empty{}, nil
}

func startEngineLog(t *testing.T) (*engineLog, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &engineLog{lines: make(chan string, 100)}
	server := grpc.NewServer()
	pulumirpc.RegisterEngineServer(server, e)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return e, listener.Addr().String()
}

// TestRunOfAReadyBinary runs a program that notes its environment.
func TestRunOfAReadyBinary(t *testing.T) {
	_, address := startEngineLog(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "program"), "#!/bin/sh\nenv > seen\nexit $EXIT\n", 0o755)
	req := &pulumirpc.RunRequest{Project: "p", Stack: "s", Pwd: root, MonitorAddress: "m:1", Info: programInfo(t, root, map[string]any{"binary": "program"})}

	t.Setenv("EXIT", "0")
	resp, err := newHost(t.Context(), address).Run(t.Context(), req)
	require.NoError(t, err)
	require.Empty(t, resp.GetError())
	seen, err := os.ReadFile(filepath.Join(root, "seen"))
	require.NoError(t, err)
	require.Contains(t, string(seen), "PULUMI_MONITOR=m:1\n")
	require.Contains(t, string(seen), "PULUMI_ENGINE="+address+"\n")

	t.Setenv("EXIT", "32")
	resp, err = newHost(t.Context(), address).Run(t.Context(), req)
	require.NoError(t, err)
	require.True(t, resp.GetBail())
}

func TestRunBuildsTheProgram(t *testing.T) {
	engine, address := startEngineLog(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module program\n\ngo 1.26\n", 0o644)
	main := filepath.Join(root, "infra", "main.go")
	write(t, main, "package main\n\nimport \"os\"\n\nfunc main() { _ = os.WriteFile(\"ran\", nil, 0o644) }\n", 0o644)
	info := programInfo(t, root, map[string]any{"buildTarget": "../bin/infra"})
	info.ProgramDirectory = filepath.Join(root, "infra")
	req := &pulumirpc.RunRequest{Pwd: root, Info: info}

	resp, err := newHost(t.Context(), address).Run(t.Context(), req)
	require.NoError(t, err)
	require.Empty(t, resp.GetError())
	require.FileExists(t, filepath.Join(root, "bin", "infra"), "buildTarget counts from the program's folder")
	require.FileExists(t, filepath.Join(root, "ran"))
	require.Contains(t, <-engine.lines, "minimal")

	info.Options = programInfo(t, root, nil).GetOptions()
	require.NoError(t, os.Remove(filepath.Join(root, "ran")))
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	_, err = newHost(t.Context(), address).Run(t.Context(), req)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "ran"))
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left, "a program built for one run is removed")

	write(t, main, "package main\n\nfunc main() { undefinedThing() }\n", 0o644)
	resp, err = newHost(t.Context(), address).Run(t.Context(), req)
	require.NoError(t, err)
	require.Contains(t, resp.GetError(), "undefined: undefinedThing")

	write(t, main, "package infra\n", 0o644)
	resp, err = newHost(t.Context(), address).Run(t.Context(), req)
	require.NoError(t, err)
	require.Contains(t, resp.GetError(), "no main package")
}

// TestCancelInterruptsTheProgram sees the program get an interrupt and end by itself.
func TestCancelInterruptsTheProgram(t *testing.T) {
	_, address := startEngineLog(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "program"), "#!/bin/sh\ntrap 'touch interrupted; exit 1' INT\ntouch started\nwhile :; do sleep 0.05; done\n", 0o755)
	h := newHost(t.Context(), address)
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(context.Background(), &pulumirpc.RunRequest{Pwd: root, Info: programInfo(t, root, map[string]any{"binary": "program"})})
		ended <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(root, "started")); return err == nil }, 20*time.Second, 10*time.Millisecond)
	_, err := h.Cancel(t.Context(), &emptypb.Empty{})
	require.NoError(t, err)
	require.Equal(t, codes.Canceled, status.Code(<-ended))
	require.FileExists(t, filepath.Join(root, "interrupted"))
}
