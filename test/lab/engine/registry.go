package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/image"
)

// ErrNoRegistry means the engine cannot get images from a registry.
var ErrNoRegistry = errors.New("no image registry answers")

// Probe finds out within limit whether the engine can get the image ref from its registry. It wraps
// [ErrNoRegistry] when not. When the engine already holds the image only the manifest is asked for;
// otherwise a pull is started and counts as answered with the first bytes of a layer: a manifest alone proves
// little where the registry answers but the place that stores layers is blocked.
func (e *Engine) Probe(ctx context.Context, ref string, limit time.Duration) error {
	held, err := e.Find(ctx, ref)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if held != nil {
		_, err = e.api.DistributionInspect(ctx, ref, "")
	} else {
		err = e.startPull(ctx, ref)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %s was not reached within %s", ErrNoRegistry, ref, limit)
	}
	return fmt.Errorf("%w: ask for %s: %w", ErrNoRegistry, ref, err)
}

// startPull returns nil as soon as a layer's bytes arrive; ending the request ends the pull.
func (e *Engine) startPull(ctx context.Context, ref string) error {
	stream, err := e.api.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	decoder := json.NewDecoder(stream)
	for {
		var m struct {
			Error    string `json:"error"`
			Progress struct {
				Current int64 `json:"current"`
			} `json:"progressDetail"`
		}
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		case m.Error != "":
			return errors.New(m.Error)
		case m.Progress.Current > 0:
			return nil
		}
	}
}
