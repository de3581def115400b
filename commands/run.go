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

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/archive"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/templates"
)

type runOptions struct {
	lifecycle.Fleet
	command []string
	root    bool
	noTTY   bool
	keep    bool
	copyDir string // "" for none
	copyTo  string // folder in the runner
}

func runCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "run",
		Category:  "Run",
		Usage:     "run a command in a fresh runner that is thrown away afterwards",
		ArgsUsage: "-- CMD [ARG…]",
		Description: "The runner is like the fleet's, but not one of them. CMD runs as runner in its home; its exit code is passed on.\n\nExamples:\n" +
			"   runnerctl run -- docker run --rm hello-world\n" +
			"   runnerctl run --copy .:src -- make -C src test",
		Flags: append(append(flags.Config(), flags.Build()...),
			&cli.StringFlag{Name: "copy", Usage: "first copy the folder `DIR[:DEST]` in, to ~/NAME or DEST; it belongs to runner"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the runner when CMD has ended (prune --kept removes it)"},
			&cli.BoolFlag{Name: "root", Usage: "as the machine's own root (no one on the host)"},
			&cli.BoolFlag{Name: "no-tty", Aliases: []string{"T"}, Usage: "no terminal, even if this is one"},
			flags.Color()),
		Action: func(c *cli.Context) error {
			options := runOptions{command: c.Args().Slice(), root: c.Bool("root"), noTTY: c.Bool("no-tty"), keep: c.Bool("keep")}
			var err error
			if options.Fleet, err = flags.Fleet(c, s); err != nil {
				return err
			}
			if len(options.command) == 0 {
				return &cmdline.UsageError{Command: "run", Problem: "a command is needed: runnerctl run -- CMD"}
			}
			if options.copyDir, options.copyTo, err = parseCopy(c.String("copy")); err != nil {
				return &cmdline.UsageError{Command: "run", Problem: err.Error()}
			}
			return runRun(c.Context, s, options)
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

func runRun(ctx context.Context, s session.Session, options runOptions) (err error) {
	host, _, err := options.Connect(ctx, s)
	if err != nil {
		return err
	}
	engine := host.Engine
	defer engine.Close()
	made, err := options.EnsureImage(ctx, s, engine)
	if err != nil {
		return err
	}
	spec, err := host.Spec(ctx, made)
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
	release, err := engine.Hold(ctx, spec.Fleet, name, made.ID)
	if err != nil {
		return err
	}
	defer release()
	if err := startOne(ctx, s, engine, name, spec, options); err != nil {
		return err
	}
	defer func() {
		if options.keep {
			fmt.Fprintf(s.Streams.Err, "kept %s: runnerctl exec %s -- bash; runnerctl prune --kept removes it\n", name, name)
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
		if err := sendFolder(ctx, s, engine, runner, options); err != nil {
			return err
		}
	}
	return execIn(ctx, s, engine, runner, execOptions{command: options.command, root: options.root, noTTY: options.noTTY})
}

// startOne makes the runner and waits until it is ready. On an error it leaves nothing behind.
func startOne(ctx context.Context, s session.Session, engine *dockerx.Engine, name string, spec fleet.Spec, options runOptions) error {
	if options.Build.Progress == "quiet" {
		s.Streams.Err, s.Streams.ErrTTY = io.Discard, false
	}
	show := s.NewProgress(options.Build.Progress, options.Theme)
	defer show.Close()
	loop := controller.Controller{Fleet: spec.Fleet, Engine: engine, Progress: show}
	return loop.Create(ctx, fleet.Wish{Spec: spec, Ready: options.Ready}, name)
}

func sendFolder(ctx context.Context, s session.Session, engine *dockerx.Engine, runner fleet.Runner, options runOptions) error {
	owner := templates.Outer(templates.RunnerID)
	var summary archive.Summary
	err := engine.Send(ctx, runner, options.copyTo, owner, func(out *tar.Writer, name string) (err error) {
		summary, err = archive.Pack(out, options.copyDir, name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %s to runner %s: %w", options.copyDir, runner.Name, err)
	}
	tellSkipped(s, summary)
	return nil
}
