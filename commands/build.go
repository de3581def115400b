package commands

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type buildOptions struct {
	config        config.Config
	print         bool
	out           string // folder for the build context
	pull          bool
	noCache       bool
	bootstrapBase bool
	progress      string // auto, tty, plain, quiet
}

func buildFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "bootstrap-base", Usage: "where the base image can't be pulled, make it from the distribution's packages (mmdebstrap)", EnvVars: []string{"RUNNERCTL_BOOTSTRAP_BASE"}, Category: "Image"},
		&cmdline.Choice{Flag: &cli.StringFlag{Name: "progress", Usage: "`MODE`: auto, tty, plain or quiet", Value: "auto", EnvVars: []string{"RUNNERCTL_PROGRESS"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"auto", "tty", "plain", "quiet"}}},
	}
}

func buildCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:     "build",
		Category: "Prepare",
		Usage:    "build the runner image",
		Description: "Examples:\n" +
			"   runnerctl build --bootstrap-base\n" +
			"   runnerctl build --out context && docker build context",
		Flags: append(slices.Concat(configFlags(), buildFlags(), githubFlags()),
			&cli.BoolFlag{Name: "print", Usage: "print the Dockerfile only", Category: "Image"},
			&cli.StringFlag{Name: "out", Usage: "write the whole build context to `DIR` only", Category: "Image"},
			&cli.BoolFlag{Name: "pull", Usage: "ask the registry for a newer base", Category: "Image"},
			&cli.BoolFlag{Name: "no-cache", Usage: "build every step anew", Category: "Image"}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options, err := buildOptionsOf(c, loaded)
			if err != nil {
				return err
			}
			options.print, options.out = c.Bool("print"), c.String("out")
			options.pull, options.noCache = c.Bool("pull"), c.Bool("no-cache")
			return runBuild(c.Context, d, options)
		},
	}}
}

func buildOptionsOf(c *cli.Context, loaded config.Config) (buildOptions, error) {
	options := buildOptions{config: loaded, bootstrapBase: c.Bool("bootstrap-base"), progress: c.String("progress")}
	switch options.progress {
	case "auto", "tty", "plain", "quiet":
		return options, nil
	}
	return options, &cmdline.UsageError{Command: c.Command.Name, Problem: fmt.Sprintf("--progress %q: auto, tty, plain or quiet", options.progress)}
}

func runBuild(ctx context.Context, d deps, options buildOptions) error {
	if options.print || options.out != "" {
		wanted, err := imageSource(d, nil, options.config).Recipe(ctx)
		if err != nil {
			return err
		}
		if !options.print {
			return options.builder(d, nil).WriteContext(ctx, wanted, options.out)
		}
		files, err := wanted.Context()
		if err != nil {
			return err
		}
		_, err = d.streams.Out.Write(files["Dockerfile"])
		return err
	}
	engine, _, err := connect(d)
	if err != nil {
		return err
	}
	defer engine.Close()
	started := time.Now()
	tag, _, built, err := ensureImage(ctx, d, engine, options)
	if err != nil {
		return err
	}
	if built {
		fmt.Fprintf(d.streams.Err, "built in %s\n", ui.Duration(time.Since(started)))
	} else {
		fmt.Fprintln(d.streams.Err, "unchanged")
	}
	fmt.Fprintln(d.streams.Out, tag)
	return nil
}

// imageSource returns the source of the image's recipe. If engine is nil, it connects to one
// only if the engine's architecture matters.
func imageSource(d deps, engine *dockerx.Engine, loaded config.Config) image.Source {
	return image.Source{Settings: loaded, GitHub: d.opener(), Engine: engine, Connect: func() (*dockerx.Engine, error) {
		own, _, err := connect(d)
		return own, err
	}}
}

// builder returns the builder of the image. engine may be nil to write the context only.
func (o buildOptions) builder(d deps, engine *dockerx.Engine) image.Builder {
	builder := image.Builder{
		Engine: engine, Reach: func() (ghapi.Options, error) { return d.opener().Reach(o.config) }, Version: Version,
		Pull: o.pull, NoCache: o.noCache, BootstrapBase: o.bootstrapBase, Progress: o.progress,
		Out: d.streams.Err, Redraw: d.redraws(),
	}
	if builder.Progress == "auto" && (!builder.Redraw || d.color == "never") {
		builder.Progress = "plain" // BuildKit's own display on terminals supports neither
	}
	return builder
}

// ensureImage builds the image unless the engine has one with the same hash.
func ensureImage(ctx context.Context, d deps, engine *dockerx.Engine, options buildOptions) (tag, id string, built bool, err error) {
	wanted, err := imageSource(d, engine, options.config).Recipe(ctx)
	if err != nil {
		return "", "", false, err
	}
	return options.builder(d, engine).Ensure(ctx, wanted)
}
