package commands

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Version is set by the linker.
var Version = "dev"

// versionLimit is how long the engine may take to report its version.
const versionLimit = 2 * time.Second

type versionOptions struct {
	config config.Config
	json   bool
}

// versions is the output of `version -o json`.
type versions struct {
	Version string         `json:"version"`
	Go      string         `json:"go"`
	OS      string         `json:"os"`
	Arch    string         `json:"arch"`
	Engine  *engineVersion `json:"engine"` // null if no engine answers
	Image   *imageVersion  `json:"image"`  // null if not built
}

type engineVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	API     string `json:"api"`
}

type imageVersion struct {
	Tag     string `json:"tag"`
	ID      string `json:"id"`
	Version string `json:"version"` // of the runnerctl that built it
}

func versionCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "version",
		Category: "More",
		Usage:    "print the versions of runnerctl, the engine and the runner image",
		Description: "Does not fail if no engine answers.\n\nExamples:\n" +
			"   runnerctl version\n" +
			"   runnerctl version -o json",
		Flags: append(flags.Config(), flags.Output()),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := versionOptions{config: loaded}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			return runVersion(c.Context, s, options)
		},
	}}
}

func runVersion(ctx context.Context, s session.Session, options versionOptions) error {
	found := versions{Version: Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	limited, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	missing := askVersions(limited, s, options.config, &found)
	if err := ctx.Err(); err != nil {
		return err
	}
	if options.json {
		return flags.WriteJSON(s.Streams.Out, found)
	}
	rows := []ui.Definition{{Term: "runnerctl", Text: fmt.Sprintf("%s (%s, %s/%s)", found.Version, found.Go, found.OS, found.Arch)}}
	if found.Engine != nil {
		rows = append(rows, ui.Definition{Term: "engine", Text: fmt.Sprintf("%s, API %s (%s)", found.Engine.Version, found.Engine.API, found.Engine.Name)})
	}
	if found.Image != nil {
		rows = append(rows, ui.Definition{Term: "image", Text: fmt.Sprintf("%s, built by %s (%s)", found.Image.Tag, found.Image.Version, found.Image.ID)})
	}
	ui.Definitions(s.Streams.Out, rows, rows)
	if missing != nil {
		fmt.Fprintln(s.Streams.Err, missing)
	}
	return nil
}

// askVersions adds the versions that the engine knows. The error explains which are missing.
func askVersions(ctx context.Context, s session.Session, loaded config.Config, found *versions) error {
	engine, endpoint, err := s.Connect()
	if err != nil {
		return fmt.Errorf("no engine: %w", err)
	}
	defer engine.Close()
	version, api, err := engine.Version(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no engine: %s did not answer within %s", endpoint.Host, versionLimit)
	}
	if err != nil {
		return fmt.Errorf("no engine: %w", dockerx.Reason(err))
	}
	found.Engine = &engineVersion{Name: endpoint.Name, Version: version, API: api}
	image, err := lifecycle.Fleet{Settings: loaded}.FindImage(ctx, s, engine)
	if err != nil {
		return fmt.Errorf("no image: %w", err)
	}
	if image.ID == "" {
		return errors.New("no image: none is built for these settings yet (runnerctl build)")
	}
	builder, err := engine.ImageVersion(ctx, image.ID)
	if err != nil {
		return fmt.Errorf("no image: %w", err)
	}
	found.Image = &imageVersion{Tag: image.Tag, ID: image.ID, Version: builder}
	return nil
}
