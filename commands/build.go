package commands

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

var platforms = []string{string(image.Docker), string(image.Kubernetes)}

type buildOptions struct {
	lifecycle.Fleet
	print bool
	out   string // folder for the build context
}

func buildCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "build",
		Category: "Prepare",
		Usage:    "build the runner image",
		Description: "Examples:\n" +
			"   runnerctl build --bootstrap-base\n" +
			"   runnerctl build --for kubernetes\n" +
			"   runnerctl build --out context && docker build context",
		Flags: append(slices.Concat(flags.Config(), flags.Build(), flags.GitHub()),
			&cmdline.Choice{Flag: &cli.StringFlag{Name: "for", Usage: "`PLATFORM` that runs the image: docker, or kubernetes, whose pods have fewer ids", Value: string(image.Docker), Category: "Image"}, Candidates: cmdline.Candidates{Words: platforms}},
			&cli.BoolFlag{Name: "print", Usage: "print the Dockerfile only", Category: "Image"},
			&cli.StringFlag{Name: "out", Usage: "write the whole build context to `DIR` only", Category: "Image"},
			&cli.BoolFlag{Name: "pull", Usage: "ask the registry for a newer base", Category: "Image"},
			&cli.BoolFlag{Name: "no-cache", Usage: "build without the cache", Category: "Image"}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options := buildOptions{print: c.Bool("print"), out: c.String("out")}
			var err error
			if options.Fleet, err = flags.Fleet(c, s); err != nil {
				return err
			}
			if options.Build.For = image.Platform(c.String("for")); !slices.Contains(platforms, c.String("for")) {
				return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: fmt.Sprintf("--for %q: docker or kubernetes", c.String("for"))}
			}
			options.Build.Pull, options.Build.NoCache = c.Bool("pull"), c.Bool("no-cache")
			return runBuild(c.Context, s, options)
		},
	}}
}

func runBuild(ctx context.Context, s session.Session, options buildOptions) error {
	if options.print || options.out != "" {
		wanted, err := options.Source(s, nil).Recipe(ctx)
		if err != nil {
			return err
		}
		if !options.print {
			return options.Builder(s, nil).WriteContext(ctx, wanted, options.out)
		}
		files, err := wanted.Context()
		if err != nil {
			return err
		}
		_, err = s.Streams.Out.Write(files["Dockerfile"])
		return err
	}
	engine, _, err := s.Connect()
	if err != nil {
		return err
	}
	defer engine.Close()
	started := time.Now()
	made, err := options.EnsureImage(ctx, s, engine)
	if err != nil {
		return err
	}
	if made.Built {
		fmt.Fprintf(s.Streams.Err, "built in %s\n", ui.Duration(time.Since(started)))
	} else {
		fmt.Fprintln(s.Streams.Err, "unchanged")
	}
	fmt.Fprintln(s.Streams.Out, made.Tag)
	return nil
}
