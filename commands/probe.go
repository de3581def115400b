package commands

import (
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/session"
)

// probeCommand runs in a probe container on an engine that has no image yet. The container
// holds this program itself (dockerx, ProbeOptions.Program).
func probeCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name: "__probe", Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) == 0 {
				return &cmdline.UsageError{Problem: "__probe: how many addresses?"}
			}
			count, err := strconv.Atoi(args[0])
			if args = args[1:]; err != nil || count > len(args) {
				return &cmdline.UsageError{Problem: "__probe: how many addresses?"}
			}
			return facts.WriteProbe(s.Streams.Out, os.DirFS("/machine"), args[:count], args[count:])
		},
	}}
}
