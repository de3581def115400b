// Package export is the command export: one file per tool. Each verb turns its flags into a fleet
// and calls one function.
package export

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Command returns the command export.
func Command(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:     "export",
		Category: "Prepare",
		Usage:    "write the runners' definition for Kubernetes, compose, systemd and others",
		Description: "The files contain the same security model as runnerctl up, and no secret.\n\nExamples:\n" +
			"   runnerctl export kubernetes --image registry.example.com/runner:1 --out k8s\n" +
			"   runnerctl export compose --image $(runnerctl build) --out compose",
	}, Verbs: []cmdline.Command{kubernetesCommand(s), dockerRunCommand(s), composeCommand(s), systemdCommand(s), nomadCommand(s), ecsCommand()}}
}

// toolFlags are the flags of each tool.
func toolFlags(more ...cli.Flag) []cli.Flag {
	return append(append(flags.Config(),
		&cli.StringFlag{Name: "image", Usage: "the runner image `REF`, as runnerctl build prints it or as it is in a registry", Category: "Image"},
		&cli.StringFlag{Name: "out", Usage: "write the files to `DIR`", Category: "Output"}, flags.Color()), more...)
}

// tool writes the files that a function makes of the fleet.
func tool(c *cli.Context, s session.Session, files func(export.Fleet) (export.Files, error)) error {
	if err := cmdline.NoArguments(c); err != nil {
		return err
	}
	image, out := c.String("image"), c.String("out")
	switch {
	case image == "":
		return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: "--image is required"}
	case out == "":
		return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: "--out is required"}
	}
	loaded, err := flags.Settings(c)
	if err != nil {
		return err
	}
	of, err := lifecycle.Exported(loaded, image)
	if err != nil {
		return err
	}
	made, err := files(of)
	if err != nil {
		return err
	}
	if err := made.Write(out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Streams.Err, "wrote %d files to %s: see README.md there\n", len(made), out)
	return err
}
