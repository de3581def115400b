package commands

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/archive"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/templates"
)

type runOptions struct {
	config  config.Config
	build   buildOptions
	command []string
	root    bool
	noTTY   bool
	keep    bool
	copyDir string // "" for none
	copyTo  string // folder in the runner
	theme   ui.Theme
}

func runCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:      "run",
		Category:  "Run",
		Usage:     "run a command in a fresh runner that is thrown away afterwards",
		ArgsUsage: "-- CMD [ARG…]",
		Description: "The runner is like the fleet's, but not one of them. CMD runs as runner in its home; its exit code is passed on.\n\nExamples:\n" +
			"   runnerctl run -- docker run --rm hello-world\n" +
			"   runnerctl run --copy .:src -- make -C src test",
		Flags: append(append(configFlags(), buildFlags()...),
			&cli.StringFlag{Name: "copy", Usage: "first copy the folder `DIR[:DEST]` in, to ~/NAME or DEST; it belongs to runner"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the runner when CMD has ended (prune --kept removes it)"},
			&cli.BoolFlag{Name: "root", Usage: "as the machine's own root (no one on the host)"},
			&cli.BoolFlag{Name: "no-tty", Aliases: []string{"T"}, Usage: "no terminal, even if this is one"},
			colorFlag()),
		Action: func(c *cli.Context) error {
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options := runOptions{config: loaded, command: c.Args().Slice(), root: c.Bool("root"), noTTY: c.Bool("no-tty"), keep: c.Bool("keep")}
			if len(options.command) == 0 {
				return &cmdline.UsageError{Command: "run", Problem: "a command is needed: runnerctl run -- CMD"}
			}
			if options.copyDir, options.copyTo, err = parseCopy(c.String("copy")); err != nil {
				return &cmdline.UsageError{Command: "run", Problem: err.Error()}
			}
			if options.build, err = buildOptionsOf(c, loaded); err != nil {
				return err
			}
			if options.theme, err = theme(c, d, d.streams.ErrTTY); err != nil {
				return err
			}
			return runRun(c.Context, d, options)
		},
	}, passThrough: 1}
}

// parseCopy reads DIR[:DEST]. An existing folder with a colon in its name takes precedence.
func parseCopy(text string) (dir, to string, err error) {
	if text == "" {
		return "", "", nil
	}
	dir = text
	info, err := os.Stat(dir)
	if err != nil {
		if i := strings.LastIndex(text, ":"); i > 0 {
			dir, to = text[:i], text[i+1:]
			info, err = os.Stat(dir)
		}
	}
	if err != nil {
		return "", "", fmt.Errorf("--copy %s: %w", text, err)
	}
	if !info.IsDir() {
		return "", "", fmt.Errorf("--copy %s: no folder", text)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", fmt.Errorf("--copy %s: %w", text, err)
	}
	if to == "" {
		to = filepath.Base(dir)
	}
	return dir, path.Clean(atHome(to)), nil
}

func runRun(ctx context.Context, d deps, options runOptions) (err error) {
	engine, endpoint, err := connect(d)
	if err != nil {
		return err
	}
	defer engine.Close()
	env := d.facts(engine, endpoint, options.config).Env(ctx, facts.ForUp)
	checks := requiredChecks(ctx, env)
	if err := ctx.Err(); err != nil {
		return err
	}
	if checks.Failed() {
		return unfit(d, checks, options.theme, env)
	}
	tag, id, _, err := ensureImage(ctx, d, engine, options.build)
	if err != nil {
		return err
	}
	spec, err := specOf(ctx, engine, options.config, tag, id, env)
	if err != nil {
		return err
	}
	spec.Role = fleet.ThrowAway
	if options.keep {
		spec.Role = fleet.Kept
	}
	taken, err := engine.Names(ctx)
	if err != nil {
		return err
	}
	name := fleet.NewName(spec.Fleet+"-run", taken)

	// The hold is created first and released last: a throw-away runner without one was left by
	// a process that was killed.
	release, err := engine.Hold(ctx, spec.Fleet, name, id)
	if err != nil {
		return err
	}
	defer release()
	if err := startOne(ctx, d, engine, name, spec, options); err != nil {
		return err
	}
	defer func() {
		if options.keep {
			fmt.Fprintf(d.streams.Err, "kept %s: runnerctl exec %s -- bash; runnerctl prune --kept removes it\n", name, name)
			return
		}
		if left := engine.Discard(ctx, name); left != nil {
			err = errors.Join(err, hint.Add(left, "runnerctl prune removes it"))
		}
	}()
	runner, err := engine.Runner(ctx, name)
	if err != nil {
		return err
	}
	if options.copyDir != "" {
		if err := sendFolder(ctx, d, engine, runner, options); err != nil {
			return err
		}
	}
	return execIn(ctx, d, engine, runner, execOptions{command: options.command, root: options.root, noTTY: options.noTTY})
}

// startOne makes the runner and waits until it is ready. On an error it leaves nothing behind.
func startOne(ctx context.Context, d deps, engine *dockerx.Engine, name string, spec fleet.Spec, options runOptions) error {
	if options.build.progress == "quiet" {
		d.streams.Err, d.streams.ErrTTY = io.Discard, false
	}
	show := newProgress(d, options.build.progress, options.theme)
	defer show.Close()
	loop := controller.Controller{Fleet: spec.Fleet, Engine: engine, Progress: show}
	return loop.Create(ctx, fleet.Wish{Spec: spec, Ready: time.Duration(options.config.Runners.ReadyTimeout)}, name)
}

func sendFolder(ctx context.Context, d deps, engine *dockerx.Engine, runner fleet.Runner, options runOptions) error {
	owner := templates.Outer(templates.RunnerID)
	var summary archive.Summary
	err := engine.Send(ctx, runner, options.copyTo, owner, func(out *tar.Writer, name string) (err error) {
		summary, err = archive.Pack(out, options.copyDir, name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %s to runner %s: %w", options.copyDir, runner.Name, err)
	}
	tellSkipped(d, summary)
	return nil
}
