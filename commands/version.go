package commands

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// Version is set by the linker.
var Version = "dev"

func versionCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print runnerctl's version",
		Description: "Examples:\n   runnerctl version\n   runnerctl version | cut -d' ' -f2",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			fmt.Fprintln(d.streams.Out, "runnerctl", Version)
			return nil
		},
	}
}
