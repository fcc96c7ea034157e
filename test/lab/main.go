// Command lab makes the container images of a stack on machines that no image registry answers: real
// programs from Debian, Go modules and npm, and strict stand-ins for the two that cannot be had.
//
//	go run ./test/lab ensure    # what `make up` calls: registry or lab, decided once
//	go run ./test/lab build     # build every image whose content changed
//	go run ./test/lab probe     # does an image registry answer?
//	go run ./test/lab prune     # remove images no stack names any more
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
	case interrupted:
		fmt.Fprintln(os.Stderr, "lab: interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "lab",
		Short:         "Make the stack's container images without an image registry",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.AddCommand(buildCommand(), ensureCommand(), probeCommand(), pruneCommand())
	return root
}

// project is where a command works.
type project struct {
	root  string // the folder with the project's go.mod
	cache string // what is kept for the next time, shared by all clones
}

func openProject() (project, error) {
	root, err := projectRoot()
	if err != nil {
		return project{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return project{}, fmt.Errorf("find the cache folder: %w; set HOME or XDG_CACHE_HOME", err)
	}
	return project{root: root, cache: filepath.Join(cache, "plantao", "lab")}, nil
}

func projectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the project: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module plantao\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the project: no go.mod of module plantao here or above; run this inside the project")
		}
		dir = filepath.Dir(dir)
	}
}
