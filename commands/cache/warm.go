package cache

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/caches"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
)

func warmCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "warm",
		Usage: "add archives of actions, and tools, before jobs need them",
		Description: "The cache also downloads the archive of an action after the first job that uses it. " +
			"Runners that start later have the tools in /opt/hostedtoolcache.\n\nExamples:\n" +
			"   runnerctl cache warm --action actions/checkout@v4 --action actions/setup-go@v5\n" +
			"   runnerctl cache warm --tool node@22 --tool go@1.24\n" +
			"   runnerctl cache warm --tools-of ci-7k2p",
		Flags: append(append(flags.Config(), flags.Build()...),
			&cli.StringSliceFlag{Name: "action", Usage: "download the archive of this `ACTION`, as in uses: (repeatable)"},
			&cli.StringSliceFlag{Name: "tool", Usage: "install this `TOOL@VERSION`: go, node or python (repeatable)"},
			&cli.StringFlag{Name: "tools-of", Usage: "copy the tools of this `RUNNER`; all later jobs run them"},
			flags.Color(), flags.Host()),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			actions := c.StringSlice("action")
			warm := lifecycle.WarmTools{Tools: c.StringSlice("tool"), Runner: c.String("tools-of")}
			wantsTools := len(warm.Tools) > 0 || warm.Runner != ""
			if len(actions) == 0 && !wantsTools {
				return &cmdline.UsageError{Command: "cache warm", Problem: "specify an action or a tool: --action actions/checkout@v4, --tool node@22"}
			}
			if len(actions) > 0 {
				if err := caches.Warm(c.Context, s, actions); err != nil || !wantsTools {
					return err
				}
			}
			var err error
			if warm.Fleet, err = flags.Fleet(c, s); err != nil {
				return err
			}
			return warm.Run(c.Context, s)
		},
	}}
}
