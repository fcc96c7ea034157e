package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
)

// version is stamped by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

type versionOptions struct{ JSON bool }

func newVersionCommand(p *program) *cobra.Command {
	var opts versionOptions
	cmd := &cobra.Command{
		Use: "version", Short: p.text.Say(text.VersionShort), Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runVersion(p, opts) },
	}
	cmd.Flags().BoolVar(&opts.JSON, "json", false, p.text.Say(text.FlagJSON))
	return cmd
}

func runVersion(p *program, opts versionOptions) error {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if opts.JSON {
		return p.json(map[string]string{"version": version, "go": runtime.Version(), "platform": platform})
	}
	_, err := fmt.Fprintln(p.out, "plantao", version, runtime.Version(), platform)
	return err
}
