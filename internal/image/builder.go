package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// Builder builds the images of recipes on an engine.
type Builder struct {
	Engine        *dockerx.Engine               // nil if only the build context is written
	Reach         func() (ghapi.Options, error) // returns how to reach the archives; called only for a build
	Cache         string                        // folder for downloaded archives; "" for the user's own
	Version       string                        // of runnerctl, for the image's label
	Pull          bool                          // ask the registry for newer base images
	NoCache       bool                          // build every step again
	BootstrapBase bool                          // make a base image that can't be pulled from packages
	Progress      string                        // auto, tty, plain, quiet: BuildKit's display
	Out           io.Writer                     // gets the progress
	Redraw        bool                          // Out is a terminal that can move its cursor
}

// Ensure builds the recipe's image unless the engine has one with the same hash.
func (b Builder) Ensure(ctx context.Context, wanted Recipe) (tag, id string, built bool, err error) {
	var baseIDs []string
	for _, base := range wanted.image.Bases() {
		id, err := b.ensureBase(ctx, base)
		if err == nil {
			err = b.Engine.Fits(ctx, base)
		}
		if err != nil {
			return "", "", false, err
		}
		baseIDs = append(baseIDs, id)
	}
	hash, err := wanted.hash(baseIDs)
	if err != nil {
		return "", "", false, err
	}
	tag = Repository + ":" + hash
	if !b.NoCache {
		id, err := b.Engine.ImageID(ctx, tag)
		if err != nil || id != "" {
			return tag, id, false, err
		}
	}
	arch, err := archOf(ctx, b.Engine)
	if err != nil {
		return "", "", false, err
	}
	wanted, archives, err := b.complete(ctx, wanted, arch)
	if err != nil {
		return "", "", false, err
	}
	files, err := wanted.context(wanted.labels(hash, b.Version))
	if err != nil {
		return "", "", false, err
	}
	err = b.Engine.Build(ctx, files, dockerx.BuildOptions{Tag: tag, NoCache: b.NoCache, Large: archives, Progress: b.Progress, Out: b.Out})
	if err != nil {
		return "", "", false, err
	}
	id, err = b.Engine.ImageID(ctx, tag)
	return tag, id, true, err
}

// ensureBase returns the id of a base image. It pulls or makes the image if necessary.
func (b Builder) ensureBase(ctx context.Context, base string) (string, error) {
	id, err := b.Engine.ImageID(ctx, base)
	if err != nil {
		return "", err
	}
	if id != "" && !b.Pull {
		return id, nil
	}
	progress := b.Out
	if b.Progress == "quiet" {
		progress = io.Discard
	}
	fmt.Fprintf(progress, "base   pulling %s\n", base)
	pullErr := b.Engine.Pull(ctx, base, progress)
	if pullErr == nil {
		return b.Engine.ImageID(ctx, base)
	}
	if ctx.Err() != nil || id != "" {
		return id, pullErr
	}
	if !b.BootstrapBase {
		if dockerx.Bootstrappable(base) {
			return "", hint.Add(pullErr, "no registry here? --bootstrap-base makes "+base+" from the distribution's packages")
		}
		return "", hint.Add(pullErr, "check image.base; where mmdebstrap is installed, --bootstrap-base can make debian and ubuntu bases")
	}
	fmt.Fprintf(progress, "base   %s can't be pulled, bootstrapping it from packages\n", base)
	if err := b.Engine.Bootstrap(ctx, base, progress); err != nil {
		err = fmt.Errorf("%w; before that, %w", err, pullErr)
		if hint.Of(err) == "" {
			err = hint.Add(err, "check image.base, and that its registry can be reached from the engine")
		}
		return "", err
	}
	return b.Engine.ImageID(ctx, base)
}

// WriteContext writes the build context of a recipe, with its archives, into a folder. It asks
// no engine: archives are chosen for this machine's architecture.
func (b Builder) WriteContext(ctx context.Context, wanted Recipe, folder string) error {
	wanted, archives, err := b.complete(ctx, wanted, runtime.GOARCH)
	if err != nil {
		return err
	}
	files, err := wanted.Context()
	if err != nil {
		return err
	}
	if err := writeFiles(folder, files, archives); err != nil {
		return fmt.Errorf("build context: %w", err)
	}
	return nil
}

func writeFiles(folder string, files dockerx.Context, archives map[string]string) error {
	for _, path := range files.Paths() {
		target := filepath.Join(folder, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, files[path], files.Mode(path)); err != nil {
			return err
		}
	}
	for path, source := range archives {
		if err := copyFile(source, filepath.Join(folder, filepath.FromSlash(path))); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(target)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
