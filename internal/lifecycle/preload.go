package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/tools"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// ensurePreload makes the volume with the images and tools that runners begin with, unless the engine
// has it. A runner downloads them; its data then serves all runners of that image.
func (h Host) ensurePreload(ctx context.Context, of Image) error {
	name := h.preloadName(of)
	if name == "" {
		return nil
	}
	if made, err := h.Engine.Preloaded(ctx, name); err != nil || made != "" {
		return err
	}
	started := time.Now()
	release, err := h.Engine.Hold(ctx, h.Settings.Name, name, of.ID) // another fleet may make it, too
	if err != nil {
		return err
	}
	defer release()
	if made, err := h.Engine.Preloaded(ctx, name); err != nil || made != "" {
		return err
	}
	if err := h.Engine.Discard(ctx, name); err != nil { // of an up that was killed
		return err
	}
	spec, err := h.Spec(ctx, of)
	if err != nil {
		return err
	}
	spec.Role, spec.DockerStart = fleet.Preload, fleet.Eager
	if err := h.startOne(ctx, spec, name); err != nil {
		return err
	}
	if err := h.fill(ctx, name); err != nil {
		return errors.Join(err, h.Engine.Discard(ctx, name))
	}
	contents := slices.Concat(h.Settings.Cache.Preload, h.Settings.Cache.Tools)
	fmt.Fprintf(h.Streams.Err, "preload %s %s (%s)\n", h.Theme.Check(), strings.Join(contents, ", "), ui.Duration(time.Since(started)))
	return nil
}

// fill downloads the images and tools in a runner and keeps its data.
func (h Host) fill(ctx context.Context, name string) error {
	runner, err := h.Engine.Runner(ctx, name)
	if err != nil {
		return err
	}
	if err := h.pullAll(ctx, runner, h.Settings.Cache.Preload); err != nil {
		return fmt.Errorf("cache.preload: %w", err)
	}
	if wanted := h.Settings.Cache.Tools; len(wanted) > 0 {
		if _, err := h.inside(ctx, runner, false, tools.Command(h.Settings.Cache.ToolsFrom, wanted)...); err != nil {
			return fmt.Errorf("cache.tools: %w", err)
		}
	}
	return h.Engine.KeepPreload(ctx, runner)
}

// pullAll pulls images in a runner.
func (h Host) pullAll(ctx context.Context, runner fleet.Runner, images []string) error {
	for _, one := range images {
		if _, err := h.docker(ctx, runner, "pull", "--quiet", one); err != nil {
			return err
		}
	}
	driver, err := h.docker(ctx, runner, "info", "--format", "{{.Driver}}")
	if err != nil {
		return err
	}
	if !slices.Contains(machine.PreloadDrivers, driver) && len(images) > 0 {
		archive := path.Join("/var/lib/docker", machine.PreloadArchive)
		if _, err := h.docker(ctx, runner, append([]string{"save", "--output", archive}, images...)...); err != nil {
			return err
		}
	}
	return nil
}

// docker runs a command of the runner's own docker client and returns its output.
func (h Host) docker(ctx context.Context, runner fleet.Runner, args ...string) (string, error) {
	out, err := h.inside(ctx, runner, true, append([]string{"docker"}, args...)...)
	if err != nil {
		return "", fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// inside runs a command in a runner and returns its output.
func (h Host) inside(ctx context.Context, runner fleet.Runner, root bool, args ...string) (string, error) {
	var out, errs bytes.Buffer
	code, err := h.Engine.Exec(ctx, runner, dockerx.Command{Args: args, Root: root, Stdout: &out, Stderr: &errs})
	if err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("code %d: %s", code, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
