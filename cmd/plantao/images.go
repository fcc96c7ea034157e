package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/imagelock"
	"plantao/cmd/plantao/text"
)

// imagesLockOptions of `plantao images lock`.
type imagesLockOptions struct {
	// Check compares and writes nothing.
	Check bool
}

func newImagesCommand(p *program) *cobra.Command {
	var opts imagesLockOptions
	lock := &cobra.Command{
		Use: "lock [--check]", Short: p.text.Say(text.ImagesLockShort), Long: codes(p, text.ImagesLockLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runImagesLock(cmd.Context(), p, opts) },
	}
	lock.Flags().BoolVar(&opts.Check, "check", false, p.text.Say(text.FlagCheck))
	return group(p, "images", text.ImagesShort, lock)
}

func runImagesLock(ctx context.Context, p *program, opts imagesLockOptions) error {
	project, err := p.projectDir()
	if err != nil {
		return err
	}
	if project == "" {
		return notFound(text.ProjectNeeded)
	}
	path := filepath.Join(project, filepath.FromSlash(imagelock.Path))
	locked, err := imagelock.Read(path)
	if err != nil {
		return text.Because(err, text.LockUnreadable, imagelock.Path)
	}
	fresh, err := resolveImages(ctx, p)
	if err != nil {
		return err
	}
	if opts.Check {
		return checkLock(p, locked, fresh)
	}
	fresh.Keep(locked)
	if err := fresh.Write(path); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return text.Because(err, text.LockNotWritten, imagelock.Path)
		}
		return err
	}
	for _, key := range fresh.Keys() {
		entry := fresh[key]
		fmt.Fprintf(p.out, "%-11s %-12s %s@%s\n", key, entry.Version, entry.Ref, entry.Digest)
	}
	p.note(text.LockWritten, len(fresh), imagelock.Path)
	return nil
}

func resolveImages(ctx context.Context, p *program) (imagelock.File, error) {
	versions, err := p.versions()
	if err != nil {
		return nil, text.Because(err, text.PinsUnreadable)
	}
	safe, err := p.safe()
	if err != nil {
		return nil, text.Because(err, text.PinsUnreadable)
	}
	p.note(text.LockAsking, len(versions))
	return imagelock.Resolver{Versions: versions, Safe: safe, Options: p.registry, Now: p.now}.Resolve(ctx)
}

func checkLock(p *program, locked, fresh imagelock.File) error {
	differences := locked.Differences(fresh)
	if len(differences) == 0 {
		p.note(text.LockCurrent, len(fresh))
		return nil
	}
	for _, difference := range differences {
		fmt.Fprintln(p.out, p.text.Render(difference))
	}
	return text.Fail(text.LockBehind, imagelock.Path)
}
