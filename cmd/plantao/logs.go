package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
)

// logsOptions of `plantao logs`.
type logsOptions struct {
	Stack string
	// Services are those wanted; none means all.
	Services []string
	Follow   bool
	// Since is a duration back from now ("10m") or an instant (RFC 3339); empty means from the first line.
	Since string
	// Tail is a number of lines of each service, or "all".
	Tail string
}

func newLogsCommand(p *program) *cobra.Command {
	var opts logsOptions
	cmd := &cobra.Command{
		Use: "logs [" + p.text.Say(text.LogsArgument) + "…] [-f] [--stack dev] [--since 10m] [--tail N]", Short: p.text.Say(text.LogsShort),
		Long: codes(p, text.LogsLong), Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Services = args
			return runLogs(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	stackFlag(p, flags, &opts.Stack)
	flags.BoolVarP(&opts.Follow, "follow", "f", false, p.text.Say(text.FlagFollow))
	flags.StringVar(&opts.Since, "since", "", p.text.Say(text.FlagSince))
	flags.StringVar(&opts.Tail, "tail", "all", p.text.Say(text.FlagTail))
	return cmd
}

func runLogs(ctx context.Context, p *program, opts logsOptions) error {
	wanted, err := logRange(p, opts)
	if err != nil {
		return err
	}
	e, err := p.open()
	if err != nil {
		return err
	}
	defer e.Close()
	containers, err := look(ctx, p, e, opts.Stack)
	if err != nil {
		return err
	}
	if len(containers) == 0 {
		return notFound(text.StackMissing, opts.Stack)
	}
	picked, err := pick(containers, opts)
	if err != nil {
		return err
	}
	lines := newPrefixer(p, picked, opts.Follow)
	if opts.Follow {
		err = e.Follow(ctx, engine.Following{
			Stack: opts.Stack, Range: wanted, Emit: lines.write,
			Wanted: func(service string) bool { return len(opts.Services) == 0 || slices.Contains(opts.Services, service) },
			Lost:   func(error) { p.note(text.LogsLost) },
		})
		if err == nil {
			err = ctx.Err()
		}
	} else {
		err = errors.Join(e.Logs(ctx, picked, wanted, lines.write), lines.flush())
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil // the reader, such as head, has seen enough
	}
	return p.docker(err)
}

func logRange(p *program, opts logsOptions) (engine.LogRange, error) {
	wanted := engine.LogRange{Tail: -1}
	if opts.Tail != "all" {
		n, err := strconv.Atoi(opts.Tail)
		if err != nil || n < 0 {
			return wanted, usage(text.FlagBadTail, opts.Tail)
		}
		wanted.Tail = n
	}
	if opts.Since == "" {
		return wanted, nil
	}
	if back, err := time.ParseDuration(opts.Since); err == nil && back >= 0 {
		wanted.Since = p.now().Add(-back)
		return wanted, nil
	}
	at, err := time.Parse(time.RFC3339Nano, opts.Since)
	if err != nil {
		return wanted, usage(text.FlagBadSince, opts.Since)
	}
	wanted.Since = at
	return wanted, nil
}

// pick are the containers of the wanted services; a service nobody knows is an error with those known.
func pick(containers []engine.Container, opts logsOptions) ([]engine.Container, error) {
	if len(opts.Services) == 0 {
		return containers, nil
	}
	var known, unknown []string
	for _, c := range containers {
		known = append(known, c.Service)
	}
	for _, service := range opts.Services {
		if !slices.Contains(known, service) {
			unknown = append(unknown, service)
		}
	}
	if len(unknown) > 0 {
		return nil, notFound(text.ServiceUnknown, strings.Join(unknown, ", "), opts.Stack, strings.Join(slices.Compact(known), ", "))
	}
	return slices.DeleteFunc(slices.Clone(containers), func(c engine.Container) bool {
		return !slices.Contains(opts.Services, c.Service)
	}), nil
}

// prefixer writes lines with their service in front.
type prefixer struct {
	program *program
	out     *bufio.Writer
	width   int
	// follow is true when lines come as they happen: then even a pipe gets each at once.
	follow bool
}

func newPrefixer(p *program, containers []engine.Container, follow bool) *prefixer {
	lines := &prefixer{program: p, follow: follow, out: bufio.NewWriterSize(p.out, 64<<10)}
	for _, c := range containers {
		lines.width = max(lines.width, len(c.Service))
	}
	return lines
}

// palette are colours that are told apart on dark and on light ground; red is for failures.
var palette = []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

// write hands one line on. A pipe gets the past in blocks.
func (l *prefixer) write(line engine.Line) error {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(line.Service))
	prefix := l.program.colour(palette[hash.Sum32()%uint32(len(palette))], pad(line.Service, l.width)+" |")
	if _, err := fmt.Fprintln(l.out, prefix, line.Text); err != nil {
		return err
	}
	if l.program.terminal || l.follow {
		return l.out.Flush()
	}
	return nil
}

func (l *prefixer) flush() error { return l.out.Flush() }
