package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/constant"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// killDelay is what an interrupted program gets to end by itself before it is killed.
const killDelay = 5 * time.Second

// options is `runtime.options` of Pulumi.yaml. At most one of the fields is set; neither means: build into a
// temporary file for this run.
type options struct {
	Binary      string // ready program: an absolute path, a path from the program or project folder, or a name on PATH
	BuildTarget string // where to build the program to and keep it: absolute, or from the program's folder
}

func parseOptions(info *pulumirpc.ProgramInfo) (options, error) {
	var o options
	var problems []error
	for key, value := range info.GetOptions().AsMap() {
		text, ok := value.(string)
		switch {
		case key != "binary" && key != "buildTarget":
			continue // options of other hosts are not ours to refuse
		case !ok:
			problems = append(problems, fmt.Errorf("runtime option %q in Pulumi.yaml must be a string, not %v", key, value))
		case key == "binary":
			o.Binary = text
		default:
			o.BuildTarget = text
		}
	}
	if o.Binary != "" && o.BuildTarget != "" {
		problems = append(problems, fmt.Errorf("runtime options \"binary\" (%q) and \"buildTarget\" (%q) in Pulumi.yaml exclude each other: keep one", o.Binary, o.BuildTarget))
	}
	return o, errors.Join(problems...)
}

// Run executes the program once and reports how it ended: nothing (success), bail (the program has told the engine
// its error itself), or one error line.
func (h *host) Run(ctx context.Context, req *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	engine, conn, address, err := h.dialEngine()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()

	// The program ends with the call, with Cancel and with the host.
	runCtx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()

	program, remove, err := h.program(runCtx, engine, req.GetInfo())
	if err != nil {
		if runCtx.Err() != nil {
			return nil, status.Error(codes.Canceled, "stopped before the program ran")
		}
		return &pulumirpc.RunResponse{Error: err.Error()}, nil
	}
	defer remove()

	env, err := runEnvironment(req, address)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "prepare the program's environment: %v", err)
	}
	cmd := exec.CommandContext(runCtx, program, req.GetArgs()...)
	cmd.Dir = req.GetPwd()
	cmd.Env = append(os.Environ(), env...)
	// The engine reads this process's streams: lines of the program appear in its display as they come.
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	interruptFirst(cmd)
	return runResult(runCtx, cmd.Run())
}

// runResult translates how the program ended. Exit status 32 is the SDK's sign that the error is already shown, so
// nothing more is said: the user sees it once.
func runResult(ctx context.Context, err error) (*pulumirpc.RunResponse, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case ctx.Err() != nil:
		return nil, status.Error(codes.Canceled, "the program was stopped")
	case errors.As(err, &exit) && exit.ExitCode() == constant.ExitStatusLoggedError:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case errors.As(err, &exit):
		return &pulumirpc.RunResponse{Error: "the program ended with " + exit.String()}, nil
	default:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("start the program: %v", err)}, nil
	}
}

// program returns the executable to run and a function that removes it when it was only made for this run.
func (h *host) program(ctx context.Context, engine pulumirpc.EngineClient, info *pulumirpc.ProgramInfo) (string, func(), error) {
	keep := func() {}
	opts, err := parseOptions(info)
	if err != nil {
		return "", keep, err
	}
	if opts.Binary != "" {
		path, err := findBinary(opts.Binary, info.GetProgramDirectory(), info.GetRootDirectory())
		return path, keep, err
	}
	if opts.BuildTarget != "" {
		target := opts.BuildTarget
		if !filepath.IsAbs(target) {
			target = filepath.Join(info.GetProgramDirectory(), target)
		}
		return target, keep, h.build(ctx, engine, info.GetProgramDirectory(), target)
	}
	dir, err := os.MkdirTemp("", "pulumi-go-")
	if err != nil {
		return "", keep, fmt.Errorf("make a folder for the program: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	target := filepath.Join(dir, "program")
	if err := h.build(ctx, engine, info.GetProgramDirectory(), target); err != nil {
		remove()
		return "", keep, err
	}
	return target, remove, nil
}

// findBinary resolves the binary option. With `main:` in Pulumi.yaml the program's folder is not the project's; both
// are places a path may start from.
func findBinary(name string, folders ...string) (string, error) {
	var candidates []string
	if filepath.IsAbs(name) {
		candidates = append(candidates, name)
	} else {
		for _, folder := range folders {
			candidates = append(candidates, filepath.Join(folder, name))
		}
		if filepath.Base(name) == name {
			candidates = append(candidates, name) // a bare name: PATH
		}
	}
	for _, candidate := range candidates {
		if found, err := exec.LookPath(candidate); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("find the program (runtime option \"binary\" in Pulumi.yaml): no executable file at any of %q: build it first", candidates)
}

// build compiles the package in dir to target with the official host's flags, so both share Go's build cache. The
// compiler's complaint is part of the error: it is what the user needs to see.
func (h *host) build(ctx context.Context, engine pulumirpc.EngineClient, dir, target string) error {
	gobin, err := goCommand()
	if err != nil {
		return errors.New(status.Convert(err).Message())
	}
	showStatus(ctx, engine, "compiling the program ("+hostName+") ...")
	cmd := exec.CommandContext(ctx, gobin, "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", target, ".")
	cmd.Dir = dir
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	interruptFirst(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile the program in %q: %w\n%s", dir, err, bytes.TrimSpace(complaint.Bytes()))
	}
	// Building a package that is not main succeeds and leaves an archive.
	if _, err := exec.LookPath(target); err != nil {
		return fmt.Errorf("compile the program in %q: it has no main package", dir)
	}
	return nil
}

// interruptFirst makes the end of the command's context an interrupt, and a kill only after killDelay.
func interruptFirst(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
}

// runEnvironment is how the SDK in the program learns its engine, stack and config.
func runEnvironment(req *pulumirpc.RunRequest, engine string) ([]string, error) {
	config, err := json.Marshal(nonNil(req.GetConfig()))
	if err != nil {
		return nil, fmt.Errorf("encode the config: %w", err)
	}
	secretKeys := req.GetConfigSecretKeys()
	if secretKeys == nil {
		secretKeys = []string{}
	}
	secrets, err := json.Marshal(secretKeys)
	if err != nil {
		return nil, fmt.Errorf("encode the secret config keys: %w", err)
	}
	return []string{
		pulumi.EnvProject + "=" + req.GetProject(),
		pulumi.EnvStack + "=" + req.GetStack(),
		pulumi.EnvOrganization + "=" + req.GetOrganization(),
		pulumi.EnvPulumiRootDirectory + "=" + req.GetInfo().GetRootDirectory(),
		pulumi.EnvConfig + "=" + string(config),
		pulumi.EnvConfigSecretKeys + "=" + string(secrets),
		pulumi.EnvDryRun + "=" + strconv.FormatBool(req.GetDryRun()),
		pulumi.EnvParallel + "=" + strconv.Itoa(int(req.GetParallel())),
		pulumi.EnvMonitor + "=" + req.GetMonitorAddress(),
		pulumi.EnvEngine + "=" + engine,
	}, nil
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// RunPlugin builds and runs a plugin whose source is Go (a provider or policy pack of the project), passing its
// output and exit status on.
func (h *host) RunPlugin(req *pulumirpc.RunPluginRequest, stream pulumirpc.LanguageRuntime_RunPluginServer) error {
	engine, conn, _, err := h.dialEngine()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	runCtx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	defer context.AfterFunc(stream.Context(), cancel)()

	program, remove, err := h.program(runCtx, engine, req.GetInfo())
	if err != nil {
		return status.Errorf(codes.FailedPrecondition, "%v", err)
	}
	defer remove()
	closer, stdout, stderr, err := rpcutil.MakeRunPluginStreams(stream, false)
	if err != nil {
		return fmt.Errorf("open the output stream: %w", err)
	}
	defer func() { _ = closer.Close() }()
	cmd := exec.CommandContext(runCtx, program, req.GetArgs()...)
	cmd.Dir, cmd.Env = req.GetPwd(), req.GetEnv()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	interruptFirst(cmd)
	return pluginResult(cmd.Run(), closer, func(code int) error {
		return stream.Send(&pulumirpc.RunPluginResponse{Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(code)}}) //nolint:gosec // an exit status is at most 255
	})
}

func pluginResult(err error, output io.Closer, sendExit func(int) error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return output.Close()
	case errors.As(err, &exit):
		return sendExit(exit.ExitCode())
	default:
		return status.Errorf(codes.Internal, "start the plugin: %v", err)
	}
}
