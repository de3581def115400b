// Package commands is the command line, with one file per verb. Each verb turns its flags into
// an options struct and calls one function.
package commands

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/cache"
	"github.com/runnerctl/runnerctl/commands/export"
	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/commands/host"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

// verb is a command of runnerctl.
type verb struct {
	*cli.Command // its Category is its group in help
	passThrough  int
	arguments    cmdline.Candidates
	verbs        []cmdline.Command // of its own
	offline      bool              // needs no engine, and has no --host
}

// anyNumber stands for any number of arguments.
const anyNumber = 1 << 10

// helpText is the general text of help and the man page.
func helpText() cmdline.Text {
	return cmdline.Text{
		Version:    Version,
		Precedence: "Flags override the environment (RUNNERCTL_…), which overrides runnerctl.yaml, which overrides the defaults.",
		Files:      [][2]string{{"runnerctl.yaml", "The settings of the fleet, in the working directory (optional)."}},
		Exit:       [][2]string{{"0", "done"}, {"1", "failed"}, {"2", "wrong usage or settings"}, {"4", "credentials refused by GitHub"}, {"130", "interrupted"}},
		ExitNote:   "exec and run return the exit code of their command.",
	}
}

func newApp(s session.Session) *cmdline.App {
	hosts, caches, exports := host.Command(s), cache.Command(s), export.Command(s)
	verbs := []verb{
		initCommand(s), doctorCommand(s), buildCommand(s), {Command: exports.Command, verbs: exports.Verbs, offline: true}, {Command: hosts.Command, verbs: hosts.Verbs, offline: true},
		upCommand(s), downCommand(s), psCommand(s), runCommand(s), superviseCommand(s), insideCommand(s), insideCacheCommand(s),
		logsCommand(s), execCommand(s), cpCommand(s), inspectCommand(s), eventsCommand(s),
		{Command: caches.Command, verbs: caches.Verbs, offline: true}, pruneCommand(s),
		demoCommand(s), versionCommand(s), completionCommand(s), completeCommand(s), helpCommand(s), probeCommand(s), manCommand(s), simCommand(s),
	}
	commands := make([]cmdline.Command, len(verbs))
	for i, one := range verbs {
		commands[i] = cmdline.Command{Command: one.Command, PassThrough: one.passThrough, Arguments: one.arguments, Verbs: one.verbs}
		if one.SkipFlagParsing {
			continue
		}
		if !one.offline {
			one.Flags = append(one.Flags, flags.Host())
		}
		flags.Common(commands[i])
	}
	return cmdline.New(&cli.App{
		Name:      "runnerctl",
		Usage:     "self-hosted GitHub Actions runners with Docker inside, never privileged",
		Writer:    s.Streams.Out,
		ErrWriter: s.Streams.Err,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help; for one command: runnerctl COMMAND --help"},
			&cli.BoolFlag{Name: "version", Usage: "print the version of runnerctl"},
		},
		Before: func(c *cli.Context) error {
			if c.Bool("version") && c.NArg() > 0 { // never run a command while ignoring the flag
				return &cmdline.UsageError{Problem: fmt.Sprintf("--version: unexpected argument %q", c.Args().First())}
			}
			return nil
		},
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case c.Bool("version"):
				fmt.Fprintln(s.Streams.Out, "runnerctl", Version)
				return nil
			case name != "":
				return cmdline.From(c).UnknownCommand(name)
			}
			cmdline.From(c).WriteOverview(s.Streams.Out)
			return nil
		},
	}, commands, []string{"Prepare", "Run", "Look inside", "Clean up", "More"}, helpText())
}
