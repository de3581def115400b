package commands

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/execute"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
)

func execCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "exec",
		Category:  "Look inside",
		Usage:     "run a command inside a runner's machine, as runner in its home",
		ArgsUsage: "NAME -- CMD [ARG…]",
		Description: "Returns the exit code of the command.\n\nExamples:\n" +
			"   runnerctl exec ci-7k2p -- docker ps\n" +
			"   runnerctl exec --root ci-7k2p -- bash",
		Flags: append(flags.Config(),
			&cli.BoolFlag{Name: "root", Usage: "run as root of the runner (an unprivileged user on the host)"},
			&cli.BoolFlag{Name: "no-tty", Aliases: []string{"T"}, Usage: "don't allocate a terminal"}),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) > 1 && args[1] == "--" {
				args = append(args[:1], args[2:]...)
			}
			if len(args) < 2 {
				return &cmdline.UsageError{Command: "exec", Problem: "specify a runner and a command: runnerctl exec NAME -- CMD"}
			}
			command := execute.Command{Args: args[1:], Root: c.Bool("root"), NoTTY: c.Bool("no-tty")}
			return explainState(command.Run(c.Context, s, args[0]))
		},
	}, passThrough: 2, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Most: 1}}
}

// explainState adds to an error about a runner that is not running how to go on.
func explainState(err error) error {
	var problem *session.NotRunningError
	if !errors.As(err, &problem) {
		return err
	}
	switch problem.State {
	case fleet.Paused:
		return hint.Add(err, "docker unpause "+problem.Name+" resumes it, runnerctl up replaces it")
	case fleet.Restarting:
		return hint.Add(err, "it keeps restarting: runnerctl logs "+problem.Name+" shows why, runnerctl up replaces it")
	}
	return hint.Add(err, "runnerctl logs "+problem.Name+" shows why, runnerctl up replaces it")
}
