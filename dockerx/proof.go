package dockerx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// proofName names the empty volume that exists if an image works on an engine with its kernel.
// All fleets of the engine share it.
func proofName(image, engine, kernel string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{image, engine, kernel}, "\n")))
	return "runnerctl-proof-" + hex.EncodeToString(sum[:])[:12]
}

func (e *Engine) proofName(ctx context.Context, image string) (string, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return "", err
	}
	return proofName(image, info.ID, info.KernelVersion), nil
}

// Proven implements fleet.Engine.
func (e *Engine) Proven(ctx context.Context, image string) (bool, error) {
	name, err := e.proofName(ctx, image)
	if err != nil {
		return false, err
	}
	found, err := e.api.VolumeInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil && found.Labels[labelImageID] == image, err
}

// Prove implements fleet.Engine.
func (e *Engine) Prove(ctx context.Context, image string) error {
	name, err := e.proofName(ctx, image)
	if err != nil {
		return err
	}
	labels := ownLabels("", string(fleet.Proof))
	labels[labelImageID] = image
	if _, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels}); err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	return nil
}

// Unprove forgets that an image works.
func (e *Engine) Unprove(ctx context.Context, image string) error {
	name, err := e.proofName(ctx, image)
	if err != nil {
		return err
	}
	if err := e.api.VolumeRemove(ctx, name, false); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	return nil
}
