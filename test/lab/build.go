package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"plantao/test/lab/builder"
	"plantao/test/lab/engine"
	"plantao/test/lab/manifest"
)

func buildCommand() *cobra.Command {
	var opts builder.Options
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build every lab image whose content changed and write .plantao/images.json",
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
			return p.build(cmd.Context(), eng, opts, manifest.Lab)
		},
	}
	cmd.Flags().StringSliceVar(&opts.Only, "only", nil, "build only these images (and what they stand on): key,…")
	cmd.Flags().BoolVar(&opts.Force, "force", false, "build even what did not change, with the newest packages")
	cmd.Flags().BoolVarP(&opts.Verbose, "verbose", "v", false, "show the builds' output")
	return cmd
}

// build runs the builder and writes the manifest. Images named by opts.Only are merged into a manifest of
// the same source; otherwise it is written anew.
func (p project) build(ctx context.Context, eng *engine.Engine, opts builder.Options, source manifest.Source) error {
	start := time.Now()
	b, err := builder.New(ctx, p.root, p.cache, eng, builder.NewProgress(os.Stderr), opts)
	if err != nil {
		return err
	}
	images, err := b.Run(ctx)
	if err != nil {
		return err
	}
	path := manifest.Path(p.root)
	next := manifest.Manifest{Source: source, Images: map[string]string{}, Bases: map[string]string{}}
	if len(opts.Only) > 0 && source == manifest.Lab {
		// Read after the build, not before: another one may have finished meanwhile.
		old, err := manifest.Read(path)
		if err != nil {
			return err
		}
		next.Keep(old)
	}
	built := 0
	for key, img := range images {
		if img.Built {
			built++
		}
		if key == builder.BaseKey {
			next.Bases[key] = img.Ref
			continue
		}
		next.Images[key] = img.Ref
	}
	if err := manifest.Write(path, next); err != nil {
		return err
	}
	if err := manifest.Remember(p.cache, path); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "lab: %d images, %d built, in %.1f s; %s\n", len(images), built, time.Since(start).Seconds(), path)
	return nil
}
