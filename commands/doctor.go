package commands

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/checkup"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/spelling"
)

func doctorCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "doctor",
		Category:  "Prepare",
		Usage:     "check whether the engine's machine can run runners, and print fixes",
		ArgsUsage: "[ID…]",
		Description: "With an ID or a prefix of IDs (userns), only those checks run. Exits 1 if a required check fails.\n\nExamples:\n" +
			"   runnerctl doctor\n" +
			"   runnerctl doctor userns devices.tun\n" +
			"   runnerctl doctor --fix-script | sudo sh\n" +
			"   runnerctl doctor --image docker:dind-rootless\n" +
			"   runnerctl doctor --deep -o json",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), flags.Build(), []cli.Flag{
			&cli.BoolFlag{Name: "list", Usage: "list the checks without running them", Category: "Checks"},
			&cli.StringSliceFlag{Name: "ignore", Usage: "report a failure of the check `ID` as a warning", EnvVars: []string{"RUNNERCTL_IGNORE"}, Category: "Checks"},
			&cli.BoolFlag{Name: "offline", Usage: "connect only to the engine's machine", EnvVars: []string{"RUNNERCTL_OFFLINE"}, Category: "Checks"},
			&cli.StringFlag{Name: "image", Usage: "check the image `NAME` (any image) instead of the machine", Category: "Checks"},
			&cli.BoolFlag{Name: "deep", Usage: "also start test runners, exercise the features that jobs need, and attempt to escape", Category: "Checks"},
			&cli.BoolFlag{Name: "fix-script", Usage: "print the automatic fixes as a shell script, for root on the engine's machine", Category: "Output"},
			flags.Output(), flags.Color()}),
		Action: func(c *cli.Context) error {
			options, err := doctorOptions(c, s)
			if err != nil {
				return err
			}
			if c.Bool("list") {
				return options.List(s)
			}
			if options.Settings, err = flags.Settings(c); err != nil {
				return err
			}
			return options.RunEverywhere(c.Context, s)
		},
	}}
}

// doctorOptions reads all flags but those of the settings, which --list does not need.
func doctorOptions(c *cli.Context, s session.Session) (options checkup.Options, err error) {
	options = checkup.Options{Image: c.String("image"), Offline: c.Bool("offline"), FixScript: c.Bool("fix-script"), Deep: c.Bool("deep")}
	catalogue := doctor.Catalogue()
	if c.IsSet("image") {
		catalogue = doctor.ImageCatalogue()
	}
	if options.Checks, err = checksNamed(catalogue, c.Args().Slice()); err != nil {
		return options, err
	}
	if len(options.Checks) == 0 {
		options.Checks = catalogue
	}
	if options.Ignored, err = checksNamed(catalogue, c.StringSlice("ignore")); err != nil {
		return options, err
	}
	if options.JSON, err = flags.JSON(c); err != nil {
		return options, err
	}
	if options.Theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
		return options, err
	}
	if options.Deep && !c.Bool("list") {
		if options.Image != "" || options.FixScript {
			return options, &cmdline.UsageError{Command: "doctor", Problem: "--deep can't be combined with --image or --fix-script"}
		}
		options.Build, err = flags.BuildOptions(c)
	}
	return options, err
}

// checksNamed selects checks by id, or by the beginning of their ids.
func checksNamed(catalogue []doctor.Check, words []string) ([]doctor.Check, error) {
	selected, unknown := doctor.Select(catalogue, words)
	if unknown == "" {
		return selected, nil
	}
	var ids []string
	for _, check := range catalogue {
		ids = append(ids, check.ID)
	}
	problem := fmt.Sprintf("unknown check %q (doctor --list lists all checks)", unknown)
	if near := spelling.Nearest(unknown, ids); near != "" {
		problem += fmt.Sprintf(": did you mean %q?", near)
	}
	return nil, &cmdline.UsageError{Command: "doctor", Problem: problem}
}
