package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"plantao/infra/upstream"
	"plantao/test/lab/builder"
	"plantao/test/lab/engine"
	"plantao/test/lab/manifest"
)

const (
	// probeKey is the upstream image asked for: the smallest one.
	probeKey   = "redis"
	probeLimit = 10 * time.Second

	sourceAuto = "auto"
)

// ownImages are built here wherever the others come from.
var ownImages = []string{"router"}

func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "probe",
		Short: "Tell whether an image registry answers the Docker Engine (exit 0) or not (exit 1)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := openProject()
			if err != nil {
				return err
			}
			eng, err := engine.Open(cmd.Context())
			if err != nil {
				return err
			}
			defer eng.Close()
			ref, err := p.probe(cmd.Context(), eng)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "registry answers (%s)\n", ref)
			return nil
		},
	}
}

func ensureCommand() *cobra.Command {
	var (
		source string
		opts   builder.Options
	)
	cmd := &cobra.Command{
		Use:   "ensure",
		Short: "Decide once where images come from, and build those that are to be built here",
		Long: `Decide once where the stack's images come from, and build those that are to be built here.

With --source auto the decision in .plantao/images.json stands; without one, a registry that answers is used and
else the lab. A registry that stops answering later does not change a running stack; --source lab or --source
registry does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := openProject()
			if err != nil {
				return err
			}
			eng, err := engine.Open(cmd.Context())
			if err != nil {
				return err
			}
			defer eng.Close()
			decided, err := p.decide(cmd.Context(), eng, source)
			if err != nil {
				return err
			}
			if decided == manifest.Registry {
				opts.Only = ownImages
			}
			return p.build(cmd.Context(), eng, opts, decided)
		},
	}
	cmd.Flags().StringVar(&source, "source", sourceAuto, "where images come from: auto, lab or registry")
	cmd.Flags().BoolVarP(&opts.Verbose, "verbose", "v", false, "show the builds' output")
	return cmd
}

// decide settles where images come from: as asked, as decided before, or by asking the registry.
func (p project) decide(ctx context.Context, eng *engine.Engine, asked string) (manifest.Source, error) {
	switch s := manifest.Source(asked); {
	case s == manifest.Lab, s == manifest.Registry:
		return s, nil
	case asked != sourceAuto:
		return "", fmt.Errorf("unknown source %q: want auto, lab or registry", asked)
	}
	old, err := manifest.Read(manifest.Path(p.root))
	if err != nil {
		return "", err
	}
	if old.Source != "" {
		return old.Source, nil
	}
	ref, err := p.probe(ctx, eng)
	switch {
	case err == nil:
		fmt.Fprintf(os.Stderr, "lab: a registry answers (%s): upstream images come from it\n", ref)
		return manifest.Registry, nil
	case errors.Is(err, engine.ErrNoRegistry):
		fmt.Fprintf(os.Stderr, "lab: %v: images are built here; `go run ./test/lab ensure --source registry` decides otherwise\n", err)
		return manifest.Lab, nil
	}
	return "", err
}

func (p project) probe(ctx context.Context, eng *engine.Engine) (ref string, err error) {
	versions, err := upstream.Versions()
	if err != nil {
		return "", err
	}
	ref = versions[probeKey].Ref()
	return ref, eng.Probe(ctx, ref, probeLimit)
}
