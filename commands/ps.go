package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type psOptions struct {
	fleet string // "" for every fleet
	json  bool
	quiet bool
}

func psCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:  "ps",
		Usage: "list runners",
		Description: "Examples:\n" +
			"   runnerctl ps\n" +
			"   runnerctl ps --all -o json",
		Flags: append(configFlags(),
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "every fleet on this engine"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "names only", Category: "Output"},
			outputFlag()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options := psOptions{fleet: loaded.Name, quiet: c.Bool("quiet")}
			if c.Bool("all") {
				options.fleet = ""
			}
			if options.json, err = wantJSON(c); err != nil {
				return err
			}
			return runPs(c.Context, d, options)
		},
	}
}

func runPs(ctx context.Context, d deps, options psOptions) error {
	engine, _, err := connect(d)
	if err != nil {
		return err
	}
	defer engine.Close()
	runners, err := engine.Runners(ctx, options.fleet)
	if err != nil {
		return err
	}
	sort.Slice(runners, func(i, j int) bool { return runners[i].Name < runners[j].Name })
	if options.quiet {
		for _, runner := range runners {
			fmt.Fprintln(d.streams.Out, runner.Name)
		}
		return nil
	}
	if options.json {
		encoder := json.NewEncoder(d.streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(runners)
	}
	rows := make([][]string, 0, len(runners))
	for _, runner := range runners {
		rows = append(rows, psRow(runner, time.Now()))
	}
	ui.Table(d.streams.Out, []string{"NAME", "FLEET", "STATE", "DOCKER", "UP", "CPUS", "MEMORY"}, rows)
	return nil
}

func psRow(runner fleet.Runner, now time.Time) []string {
	docker := "–"
	if runner.Ready {
		docker = runner.DockerVersion
	}
	return []string{
		runner.Name, runner.Fleet, psState(runner), docker, ui.Duration(now.Sub(runner.Created)),
		strconv.FormatFloat(runner.CPUs, 'g', -1, 64), ui.Bytes(runner.Memory),
	}
}

// psState is the runner's state in one word, and what to look at.
func psState(runner fleet.Runner) string {
	state := string(runner.State)
	switch {
	case runner.Busy:
		state = "busy"
	case runner.Ready:
		state = "ready"
	case runner.State == fleet.Running:
		state = "starting"
	}
	if runner.DiskFull() {
		state += ", disk full"
	}
	if runner.Restarts > 0 {
		state += fmt.Sprintf(", daemon restarted %d×", runner.Restarts)
	}
	return state
}
