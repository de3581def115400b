package commands

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/transfer"
)

func cpCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "cp",
		Category:  "Look inside",
		Usage:     "copy files between a runner and this machine",
		ArgsUsage: "SRC DST (one of them NAME:PATH)",
		Description: "Works like docker cp: a folder is copied into an existing folder, or created as DST; SRC/. means the contents of SRC;\n" +
			"- is a tar stream. Relative paths in a runner start at the home folder of its user runner. Files copied in belong to runner\n" +
			"(with --root: to root), files copied out belong to you.\n\nExamples:\n" +
			"   runnerctl cp ci-7k2p:work/report.xml .\n" +
			"   runnerctl cp src ci-7k2p:work\n" +
			"   runnerctl cp ci-7k2p:/var/log - | tar -t",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "root", Usage: "read and write as root of the runner (an unprivileged user on the host)"},
			&cli.BoolFlag{Name: "follow-link", Aliases: []string{"L"}, Usage: "if SRC is a symbolic link, copy its target"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return &cmdline.UsageError{Command: "cp", Problem: "specify a source and a destination: runnerctl cp SRC DST"}
			}
			options := transfer.Copy{From: transfer.ParsePlace(c.Args().Get(0)), To: transfer.ParsePlace(c.Args().Get(1)), Root: c.Bool("root"), Follow: c.Bool("follow-link")}
			if err := options.Check(s.Streams); err != nil {
				return &cmdline.UsageError{Command: "cp", Problem: err.Error()}
			}
			return explainState(options.Run(c.Context, s))
		},
	}, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Suffix: ":", Files: true, Most: 2}}
}
