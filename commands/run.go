package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/execute"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/transfer"
)

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
			&cli.BoolFlag{Name: "root", Usage: "run as root of the runner (an unprivileged user on the host)"},
			&cli.BoolFlag{Name: "no-tty", Aliases: []string{"T"}, Usage: "don't allocate a terminal"},
			flags.Color()),
		Action: func(c *cli.Context) (err error) {
			options := lifecycle.ThrowAway{Command: execute.Command{Args: c.Args().Slice(), Root: c.Bool("root"), NoTTY: c.Bool("no-tty")}, Keep: c.Bool("keep")}
			if options.Fleet, err = flags.Fleet(c, s); err != nil {
				return err
			}
			if len(options.Command.Args) == 0 {
				return &cmdline.UsageError{Command: "run", Problem: "a command is needed: runnerctl run -- CMD"}
			}
			if options.Copy, err = transfer.ParseFolder(c.String("copy")); err != nil {
				return &cmdline.UsageError{Command: "run", Problem: fmt.Sprintf("--copy %s: %v", c.String("copy"), err)}
			}
			return runRun(c.Context, s, options)
		},
	}, passThrough: 1}
}

// runRun says how to go on with a runner that is left.
func runRun(ctx context.Context, s session.Session, options lifecycle.ThrowAway) error {
	kept, err := options.Run(ctx, s)
	if kept != "" {
		fmt.Fprintf(s.Streams.Err, "kept %s: runnerctl exec %s -- bash; runnerctl prune --kept removes it\n", kept, kept)
	}
	var all []error
	for _, one := range session.Flatten(err) {
		var left *lifecycle.LeftError
		if errors.As(one, &left) {
			one = hint.Add(one, "runnerctl prune removes it")
		}
		all = append(all, one)
	}
	return errors.Join(all...)
}
