package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"plantao/test/lab/engine"
	"plantao/test/lab/gobuild"
	"plantao/test/lab/manifest"
)

func pruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove lab images and cached programs that no project's manifest names, and kept build stages",
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
			named, err := manifest.Named(p.cache)
			if err != nil {
				return err
			}
			refs, dangling, err := eng.List(cmd.Context())
			if err != nil {
				return err
			}
			refs = slices.DeleteFunc(refs, func(ref string) bool { return named[ref] })
			removed := 0
			for _, ref := range append(refs, dangling...) {
				gone, err := eng.Remove(cmd.Context(), ref)
				if err != nil {
					return err
				}
				if !gone {
					fmt.Fprintf(os.Stderr, "lab: kept %s: a container or another image needs it\n", ref)
					continue
				}
				removed++
			}
			programs, err := gobuild.Prune(p.cache)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "lab: removed %d images and %d cached programs\n", removed, programs)
			return nil
		},
	}
}
