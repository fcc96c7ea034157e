package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// hostName is how the host names itself to people, so that nobody takes it for the official one.
const hostName = "plantao minimal Go language host"

// host answers the engine's calls about one Go program. It is safe for concurrent use.
type host struct {
	// Code generation stays unimplemented on purpose: the engine reports it as such.
	pulumirpc.UnimplementedLanguageRuntimeServer

	// ctx ends when the engine sends Cancel or the process is told to stop; it ends running programs.
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	engine string // address of the engine's server; "" until the start argument or Handshake gave it
}

func newHost(ctx context.Context, engine string) *host {
	ctx, cancel := context.WithCancel(ctx)
	return &host{ctx: ctx, cancel: cancel, engine: engine}
}

// Handshake takes the engine's address when the engine attached to a host that was already running.
func (h *host) Handshake(_ context.Context, req *pulumirpc.LanguageHandshakeRequest) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.engine = req.GetEngineAddress()
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) engineAddress() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.engine == "" {
		return "", status.Error(codes.FailedPrecondition, "the engine's address is unknown: start the host with it, or call Handshake first")
	}
	return h.engine, nil
}

// GetPluginInfo reports the version of Pulumi this host was built for.
func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version.Version}, nil
}

// About describes the Go toolchain, and says that the host is the minimal one.
func (h *host) About(ctx context.Context, _ *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	gobin, err := goCommand()
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, gobin, "version").Output()
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "ask %q for its version: %v", gobin, err)
	}
	return &pulumirpc.AboutResponse{
		Executable: gobin,
		Version:    strings.TrimSpace(string(out)) + " (" + hostName + ")",
		Metadata:   map[string]string{"host": hostName},
	}, nil
}

// Cancel interrupts the program that is running, if any.
func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	h.cancel()
	return &emptypb.Empty{}, nil
}

// RuntimeOptionsPrompts has nothing to ask: a Go program needs no option.
func (h *host) RuntimeOptionsPrompts(context.Context, *pulumirpc.RuntimeOptionsRequest) (*pulumirpc.RuntimeOptionsResponse, error) {
	return &pulumirpc.RuntimeOptionsResponse{}, nil
}

// Template leaves a new project as its template made it.
func (h *host) Template(context.Context, *pulumirpc.TemplateRequest) (*pulumirpc.TemplateResponse, error) {
	return &pulumirpc.TemplateResponse{}, nil
}

// InstallDependencies downloads the modules go.mod names. Unlike the official host it runs no `go mod tidy`, which
// would rewrite go.mod and asks for every test dependency of every module.
func (h *host) InstallDependencies(req *pulumirpc.InstallDependenciesRequest, stream pulumirpc.LanguageRuntime_InstallDependenciesServer) error {
	closer, stdout, stderr, err := rpcutil.MakeInstallDependenciesStreams(stream, req.GetIsTerminal())
	if err != nil {
		return fmt.Errorf("open the output stream: %w", err)
	}
	defer func() { _ = closer.Close() }()
	gobin, err := goCommand()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(stream.Context(), gobin, "mod", "download")
	cmd.Dir = req.GetInfo().GetProgramDirectory()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return status.Errorf(codes.Unavailable, "download the modules of %q: %v", cmd.Dir, err)
	}
	return closer.Close()
}

// showStatus shows what the host is doing in the engine's display, until the next line takes its place. A line that
// cannot be shown is not worth failing for.
func showStatus(ctx context.Context, engine pulumirpc.EngineClient, message string) {
	_, _ = engine.Log(ctx, &pulumirpc.LogRequest{Severity: pulumirpc.LogSeverity_INFO, Message: message, Ephemeral: true})
}

// dialEngine connects to the engine; the connection is closed by the caller.
func (h *host) dialEngine() (pulumirpc.EngineClient, *grpc.ClientConn, string, error) {
	address, err := h.engineAddress()
	if err != nil {
		return nil, nil, "", err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), rpcutil.GrpcChannelOptions())
	if err != nil {
		return nil, nil, "", status.Errorf(codes.Unavailable, "connect to the engine at %q: %v", address, err)
	}
	return pulumirpc.NewEngineClient(conn), conn, address, nil
}

// goCommand finds the go tool, with an error that says what to do.
func goCommand() (string, error) {
	gobin, err := exec.LookPath("go")
	if err != nil {
		return "", status.Errorf(codes.FailedPrecondition, "find the go tool: %v: install Go and put it on PATH (PATH is %q)", err, os.Getenv("PATH"))
	}
	return gobin, nil
}
