package commands

import (
	"cmp"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/ask"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/session"
)

func initCommand(s session.Session) verb {
	own := []cli.Flag{
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "use the defaults for settings without a flag"},
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "overwrite the file"},
	}
	for _, q := range ask.Questions() {
		own = append(own, &cli.StringFlag{Name: q.Name, Usage: q.Text, Category: "Answers"})
	}
	return verb{Command: &cli.Command{
		Name:     "init",
		Category: "Prepare",
		Usage:    "write a commented runnerctl.yaml",
		Description: "Examples:\n" +
			"   runnerctl init\n" +
			"   runnerctl init --yes --count 3 --memory 8GiB",
		Flags: append(flags.Config(), own...),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options := ask.Options{File: cmp.Or(c.String("config"), config.DefaultFile), Force: c.Bool("force"), Yes: c.Bool("yes"), Fleet: c.String("fleet"), Given: map[string]string{}}
			for _, q := range ask.Questions() {
				if c.IsSet(q.Name) {
					options.Given[q.Name] = c.String(q.Name)
				}
			}
			if err := options.Run(s); err != nil {
				return err
			}
			fmt.Fprintf(s.Streams.Err, "wrote %s; next: runnerctl doctor, runnerctl build, runnerctl up\n", options.File)
			return nil
		},
	}, offline: true}
}
