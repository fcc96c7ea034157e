package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/docker/docker/api/types/build"
)

// tailLines of a failed build's output are shown.
const tailLines = 40

// errBuildEnded ends the sender of a build context nobody reads any more.
var errBuildEnded = errors.New("build ended")

// BuildOptions say how an image is built.
type BuildOptions struct {
	// Ref is the name and tag the result gets.
	Ref string
	// Args are the build arguments.
	Args map[string]string
	// Labels are put on the image.
	Labels map[string]string
	// NoCache makes the engine run every step.
	NoCache bool
	// Timeout limits the whole build; zero: none.
	Timeout time.Duration
	// Output receives the build's output while it runs; nil: shown only in the error of a failure.
	Output io.Writer
}

// Build builds an image; writeContext writes the build context as a tar stream. The error carries the end of
// the build's output.
func (e *Engine) Build(ctx context.Context, opts BuildOptions, writeContext func(io.Writer) error) error {
	if opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, opts.Timeout, fmt.Errorf("not finished after %s; run this again (finished steps are kept), or raise timeout in its image.yaml", opts.Timeout))
		defer cancel()
	}
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := writeContext(writer)
		_ = writer.CloseWithError(err)
		sent <- err
	}()
	err := e.build(ctx, opts, reader)
	_ = reader.CloseWithError(errBuildEnded)
	sendErr := <-sent
	switch {
	case err == nil:
		// The engine may stop reading before the archive's padding; the image is complete nevertheless.
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("build image %s: %w", opts.Ref, context.Cause(ctx))
	case sendErr != nil && !errors.Is(sendErr, io.ErrClosedPipe) && !errors.Is(sendErr, errBuildEnded):
		return fmt.Errorf("build image %s: %w", opts.Ref, sendErr)
	}
	return fmt.Errorf("build image %s: %w", opts.Ref, explain(err))
}

func (e *Engine) build(ctx context.Context, opts BuildOptions, contextTar io.Reader) error {
	args := proxyArgs()
	for k, v := range opts.Args {
		args[k] = &v
	}
	response, err := e.api.ImageBuild(ctx, contextTar, build.ImageBuildOptions{
		Version:     build.BuilderV1,
		Tags:        []string{opts.Ref},
		BuildArgs:   args,
		Labels:      opts.Labels,
		NoCache:     opts.NoCache,
		Remove:      true,
		ForceRemove: true,
	})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	log := newLog(opts.Output)
	if err := log.read(response.Body); err != nil {
		if last := log.tail(tailLines); last != "" && opts.Output == nil {
			return fmt.Errorf("%w; its last lines:\n%s", err, last)
		}
		return err
	}
	return nil
}

// proxyArgs are the builder's predefined arguments: known to every RUN without ARG, and kept out of the
// image's history.
func proxyArgs() map[string]*string {
	args := map[string]*string{}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"} {
		for _, n := range []string{name, strings.ToLower(name)} {
			if v, ok := os.LookupEnv(n); ok {
				args[n] = &v
			}
		}
	}
	return args
}

// log collects the engine's stream of JSON messages.
type log struct {
	live  io.Writer
	lines []string
}

func newLog(live io.Writer) *log { return &log{live: live} }

type message struct {
	Stream string `json:"stream"`
	Status string `json:"status"`
	Error  string `json:"error"`
}

// read reads the stream to its end; the error is the one the engine reported in it.
func (l *log) read(stream io.Reader) error {
	decoder := json.NewDecoder(stream)
	for {
		var m message
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		l.add(m.Stream)
	}
}

func (l *log) add(text string) {
	if text == "" {
		return
	}
	if l.live != nil {
		// Losing progress output must not fail a build.
		_, _ = io.WriteString(l.live, text)
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		l.lines = append(l.lines, line)
	}
	if over := len(l.lines) - 4*tailLines; over > 0 {
		l.lines = l.lines[over:]
	}
}

func (l *log) tail(n int) string {
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}
