package dockerx

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/pkg/jsonmessage"
)

// Move copies images from another engine, except those that this one already has. `tell`
// is called during the transfer, with the approximate total. Layers that the images share are
// sent once.
func (e *Engine) Move(ctx context.Context, from *Engine, references []string, tell func(done, total int64)) (moved bool, err error) {
	var missing []string
	var total int64
	for _, reference := range references {
		there, err := from.api.ImageInspect(ctx, reference)
		if err != nil {
			return false, fmt.Errorf("image %s: %w", reference, err)
		}
		if err := e.fits(ctx, reference, there.Architecture); err != nil {
			return false, err
		}
		here, err := e.ImageID(ctx, reference)
		if err != nil {
			return false, err
		}
		if here != there.ID {
			missing = append(missing, reference)
			total = max(total, there.Size)
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	stream, err := from.api.ImageSave(ctx, missing)
	if err != nil {
		return false, fmt.Errorf("image %s: save: %w", missing[0], err)
	}
	defer stream.Close()
	answer, err := e.api.ImageLoad(ctx, &counted{stream, 0, total, tell})
	if err != nil {
		return false, fmt.Errorf("image %s: load: %w", missing[0], err)
	}
	defer answer.Body.Close()
	// Failures arrive inside the stream.
	if err := jsonmessage.DisplayJSONMessagesStream(answer.Body, io.Discard, 0, false, nil); err != nil {
		return false, fmt.Errorf("image %s: load: %w", missing[0], err)
	}
	for _, reference := range missing {
		switch id, err := e.ImageID(ctx, reference); {
		case err != nil:
			return false, err
		case id == "":
			return false, fmt.Errorf("image %s: load: it did not arrive", reference)
		}
	}
	return true, nil
}

type counted struct {
	io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.done += int64(n)
	c.tell(c.done, c.total)
	return n, err
}
