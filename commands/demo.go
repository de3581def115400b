package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/scripts"
)

const (
	demoRunners = 3
	stepLimit   = 5 * time.Minute
)

type demoOptions struct {
	config config.Config
	build  buildOptions
	keep   bool
	theme  ui.Theme
}

func demoCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "doctor, build, three runners that do the same things at the same moment, down",
		Description: "Exits 1 if anything differs from what it should be.\n\nExamples:\n" +
			"   runnerctl demo\n" +
			"   runnerctl demo --bootstrap-base --keep",
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "read settings from `FILE`; none is needed", DefaultText: "./" + config.DefaultFile, EnvVars: []string{"RUNNERCTL_CONFIG"}, Category: "Settings"},
		}, buildFlags()...),
			&cli.BoolFlag{Name: "keep", Usage: "leave the runners, and tell how to remove them"}, colorFlag()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			// A fleet of its own: two demos on one engine don't meet.
			loaded.Name, loaded.Runners.Count = newName("demo", map[string]bool{}), demoRunners
			options := demoOptions{config: loaded, keep: c.Bool("keep")}
			if options.build, err = buildOptionsOf(c, loaded); err != nil {
				return err
			}
			if options.theme, err = theme(c, d, d.streams.OutTTY); err != nil {
				return err
			}
			return runDemo(c.Context, d, options)
		},
	}
}

func runDemo(ctx context.Context, d deps, options demoOptions) (err error) {
	if err := runDoctor(ctx, d, doctorOptions{config: options.config, theme: options.theme}); err != nil {
		return err
	}
	fmt.Fprintln(d.streams.Out)
	if options.keep {
		defer fmt.Fprintf(d.streams.Err, "kept; runnerctl down --fleet %s removes them\n", options.config.Name)
	} else {
		defer func() {
			whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
			defer cancel()
			err = errors.Join(err, runDown(whole, d, downOptions{fleet: options.config.Name, theme: options.theme}))
		}()
	}
	up := upOptions{config: options.config, build: options.build, timeout: time.Duration(options.config.Runners.ReadyTimeout), theme: options.theme}
	if err := runUp(ctx, d, up); err != nil {
		return err
	}
	engine, _, err := connect(d)
	if err != nil {
		return err
	}
	defer engine.Close()
	runners, err := engine.Runners(ctx, options.config.Name)
	if err != nil {
		return err
	}
	steps, err := demoSteps()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.streams.Out, "\n%d runners, each step in all of them at the same moment:\n\n", len(runners))
	header := []string{"STEP"}
	for _, runner := range runners {
		header = append(header, runner.Name)
	}
	var rows [][]string
	var failures []error
	for _, step := range steps {
		row, err := demoStep(ctx, engine, runners, step, options.theme)
		rows = append(rows, row)
		if err != nil {
			failures = append(failures, err)
		}
	}
	for _, look := range []func(context.Context, *dockerx.Engine, []fleet.Runner, ui.Theme) ([]string, error){rootInside, rootOutside} {
		row, err := look(ctx, engine, runners, options.theme)
		rows = append(rows, row)
		failures = append(failures, err)
	}
	ui.Table(d.streams.Out, header, rows)
	if err := errors.Join(failures...); err != nil {
		return err
	}
	fmt.Fprintf(d.streams.Out, "\n%s no collision: the same names, ports and tags in %d runners; root inside, nobody on the host\n", options.theme.Check(), len(runners))
	return nil
}

type demoScript struct{ title, text string }

func demoSteps() ([]demoScript, error) {
	entries, err := fs.ReadDir(scripts.Demo, "demo") // in the order of names
	if err != nil {
		return nil, err
	}
	var steps []demoScript
	for _, entry := range entries {
		text, err := scripts.Demo.ReadFile(path.Join("demo", entry.Name()))
		if err != nil {
			return nil, err
		}
		lines := strings.SplitN(string(text), "\n", 3)
		steps = append(steps, demoScript{strings.TrimPrefix(lines[1], "# "), string(text)})
	}
	return steps, nil
}

// demoStep runs one script in all runners side by side; each cell is how long
// it took.
func demoStep(ctx context.Context, engine *dockerx.Engine, runners []fleet.Runner, step demoScript, theme ui.Theme) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	row := make([]string, len(runners)+1)
	row[0] = step.title
	failures := make([]error, len(runners))
	var group errgroup.Group
	for i, runner := range runners {
		group.Go(func() error {
			started := time.Now()
			var output bytes.Buffer
			code, err := engine.Exec(ctx, runner, dockerx.Command{Args: []string{"sh", "-c", step.text}, Stdout: &output, Stderr: &output})
			if err == nil && code != 0 {
				err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(output.String()))
			}
			if err != nil {
				row[i+1] = theme.Cross()
				failures[i] = fmt.Errorf("runner %s: %s: %w", runner.Name, step.title, err)
				return nil
			}
			row[i+1] = theme.Check() + " " + ui.Duration(time.Since(started))
			return nil
		})
	}
	_ = group.Wait() // failures are gathered, one per runner
	return row, errors.Join(failures...)
}

// rootInside counts the processes of uid 0 as the runners themselves see them.
func rootInside(ctx context.Context, engine *dockerx.Engine, runners []fleet.Runner, theme ui.Theme) ([]string, error) {
	row := []string{"seen inside: processes of uid 0"}
	var failures []error
	for _, runner := range runners {
		var output bytes.Buffer
		code, err := engine.Exec(ctx, runner, dockerx.Command{Args: []string{"sh", "-c", "ps -e -o uid= | grep -cw 0"}, Stdout: &output, Stderr: &output})
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(output.String()))
		}
		if err != nil {
			row = append(row, theme.Cross())
			failures = append(failures, fmt.Errorf("runner %s: its processes: %w", runner.Name, err))
			continue
		}
		row = append(row, theme.Check()+" "+strings.TrimSpace(output.String()))
	}
	return row, errors.Join(failures...)
}

// rootOutside counts them as the host sees them: there must be none.
func rootOutside(ctx context.Context, engine *dockerx.Engine, runners []fleet.Runner, theme ui.Theme) ([]string, error) {
	row := []string{"seen from the host: processes of uid 0"}
	var failures []error
	for _, runner := range runners {
		uids, err := engine.HostUIDs(ctx, runner)
		if err != nil {
			return row, err
		}
		mark, processes := theme.Check(), 0
		for _, count := range uids {
			processes += count
		}
		root := uids["0"] + uids["root"]
		if root > 0 {
			mark = theme.Cross()
			failures = append(failures, fmt.Errorf("runner %s has %d processes of uid 0 on the host", runner.Name, root))
		}
		names := slices.Sorted(maps.Keys(uids))
		row = append(row, fmt.Sprintf("%s %d of %d (uid %s)", mark, root, processes, strings.Join(names, ", ")))
	}
	return row, errors.Join(failures...)
}
