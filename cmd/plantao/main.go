// Command plantao is the operator's tool: it examines the machine, shows how a stack fares and what
// its services say, shows and changes who is on duty in a conversation, and pins the upstream images. It
// changes no stack: that is Pulumi's work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"plantao/cmd/plantao/imagelock"
	"plantao/cmd/plantao/text"
)

// Exit codes, told in the help of every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 10
	exitHeld        = 11
	exitInterrupted = 130
)

// Classes of failure that have an exit code of their own.
var (
	// errUsage: the command line says something impossible.
	errUsage = errors.New("usage")
	// errNotFound: what was named is not there.
	errNotFound = errors.New("not found")
	// errHeld: another holds what is needed.
	errHeld = errors.New("held by another")
	// errTold: the command has said all there is to say; only the exit code is missing.
	errTold = errors.New("told")
)

// failure is an error with its class.
type failure struct {
	class error
	err   error
}

func (f failure) Error() string   { return f.err.Error() }
func (f failure) Unwrap() []error { return []error{f.class, f.err} }

func usage(key text.Key, args ...any) error    { return failure{errUsage, text.Fail(key, args...)} }
func notFound(key text.Key, args ...any) error { return failure{errNotFound, text.Fail(key, args...)} }

func main() { os.Exit(run(os.Args[1:], newProgram())) }

// run is the whole program: one command line to one exit code.
func run(args []string, p *program) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	language, err := text.Choose(languageFlag(args), p.getenv)
	p.text = text.For(language)
	if err == nil {
		root := newRootCommand(p)
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	} else {
		err = failure{errUsage, err}
	}
	if ctx.Err() != nil {
		err = context.Canceled
	}
	p.tell(err)
	return exitCode(err)
}

// exitCode is the one place where failures become exit codes.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errNotFound):
		return exitNotFound
	case errors.Is(err, errHeld):
		return exitHeld
	default:
		return exitFailed
	}
}

// tell writes a failure for people: one line per problem, on standard error. An interruption and what
// was told already need no words.
func (p *program) tell(err error) {
	if err == nil || errors.Is(err, errTold) || errors.Is(err, context.Canceled) {
		return
	}
	var problems imagelock.Problems
	if !errors.As(err, &problems) {
		problems = imagelock.Problems{err}
	}
	for _, problem := range problems {
		fmt.Fprintln(p.err, "plantao: "+p.text.Error(problem))
	}
	if errors.Is(err, errUsage) {
		fmt.Fprintln(p.err, p.text.Say(text.UsageHint))
	}
}
