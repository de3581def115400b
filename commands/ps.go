package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type psOptions struct {
	config config.Config
	fleet  string // "" for every fleet
	json   bool
	quiet  bool
}

func psCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "ps",
		Category: "Run",
		Usage:    "list runners",
		Description: "Examples:\n" +
			"   runnerctl ps\n" +
			"   runnerctl ps --all -o json",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show the runners of every fleet on this engine"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only names", Category: "Output"},
			flags.Output(),
		}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := psOptions{config: loaded, fleet: loaded.Name, quiet: c.Bool("quiet")}
			if c.Bool("all") {
				options.fleet = ""
			}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			return runPs(c.Context, s, options)
		},
	}}
}

func runPs(ctx context.Context, s session.Session, options psOptions) error {
	all := s.Each()
	var mu sync.Mutex
	runners := []fleet.Runner{}
	failed := session.OnEach(all, func(s session.Session) error {
		found, err := runnersOf(ctx, s, options)
		mu.Lock()
		defer mu.Unlock()
		runners = append(runners, found...)
		return err
	})
	if failed != nil && len(all) == 1 {
		return failed
	}
	sort.Slice(runners, func(i, j int) bool {
		return cmp.Or(strings.Compare(runners[i].Host, runners[j].Host), strings.Compare(runners[i].Name, runners[j].Name)) < 0
	})
	switch {
	case options.quiet:
		for _, runner := range runners {
			fmt.Fprintln(s.Streams.Out, runner.Name)
		}
	case options.json:
		return errors.Join(flags.WriteJSON(s.Streams.Out, runners), failed)
	default:
		writeRunners(s.Streams.Out, runners, len(all) > 1, time.Now())
	}
	return failed
}

func runnersOf(ctx context.Context, s session.Session, options psOptions) ([]fleet.Runner, error) {
	engine, _, err := s.Connect()
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	runners, err := engine.Runners(ctx, options.fleet)
	if err == nil && !options.quiet {
		askGitHub(ctx, s, engine, options.config, runners)
		tellAbsentSupervisors(ctx, s, engine, options.fleet)
	}
	return runners, err
}

// askGitHub adds GitHub's view to the runners, and prints the rest on stderr.
func askGitHub(ctx context.Context, s session.Session, engine *dockerx.Engine, loaded config.Config, runners []fleet.Runner) {
	bounded, cancel := context.WithTimeout(ctx, psLimit)
	defer cancel()
	names := map[string]bool{}
	for _, runner := range runners {
		if runner.Agent.Mode != fleet.NoAgent {
			names[runner.Fleet] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		forges, orphans, err := session.Targets{Session: s, Engine: engine, Settings: loaded}.Join(bounded, name, runners)
		if err != nil {
			fmt.Fprintf(s.Streams.Err, "GitHub's view of fleet %s is missing: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		if err := addJobs(bounded, forges, runners); err != nil {
			fmt.Fprintf(s.Streams.Err, "jobs of fleet %s are not shown: %s\n", name, withHint(err))
		}
		for _, one := range orphans {
			fmt.Fprintf(s.Streams.Err, "GitHub lists %s, but there is no such runner here: the next up or down removes it once it is offline\n", one.Name)
		}
	}
}

// tellAbsentSupervisors prints on stderr which fleets have a supervisor that does not run.
func tellAbsentSupervisors(ctx context.Context, s session.Session, engine *dockerx.Engine, name string) {
	fleets := []string{name}
	if name == "" {
		var err error
		if fleets, err = engine.Fleets(ctx); err != nil {
			fmt.Fprintf(s.Streams.Err, "supervisors are not shown: %s\n", withHint(err))
			return
		}
	}
	for _, one := range fleets {
		why, err := engine.SupervisorAway(ctx, one)
		switch {
		case err != nil:
			fmt.Fprintf(s.Streams.Err, "the supervisor of fleet %s is not shown: %s\n", one, withHint(err))
		case why != "":
			fmt.Fprintf(s.Streams.Err, "the supervisor of fleet %s is not running: %s; run runnerctl up to restart it\n", one, why)
		}
	}
}

// withHint returns an error and its advice in one line.
func withHint(err error) string {
	if hint := hint.Of(err); hint != "" {
		return err.Error() + " (" + hint + ")"
	}
	return err.Error()
}

// addJobs adds the page of the current job to busy runners.
func addJobs(ctx context.Context, forges fleet.Forges, runners []fleet.Runner) error {
	for address, forge := range forges {
		busy := func(runner fleet.Runner) bool {
			return runner.Agent.URL == address && runner.Listing != nil && runner.Listing.Busy
		}
		if !slices.ContainsFunc(runners, busy) {
			continue
		}
		urls, err := forge.JobURLs(ctx)
		if err != nil {
			return err
		}
		for _, runner := range runners {
			if busy(runner) {
				runner.Listing.JobURL = urls[runner.Name]
			}
		}
	}
	return nil
}

// psLimit bounds the requests to GitHub: the engine's view is shown without them too.
const psLimit = 15 * time.Second

// writeRunners prints the table. It has a column for GitHub if any runner has an agent, and a
// column for hosts if there are several.
func writeRunners(out io.Writer, runners []fleet.Runner, hosts bool, now time.Time) {
	agents := slices.ContainsFunc(runners, func(runner fleet.Runner) bool { return runner.Agent.Mode != fleet.NoAgent })
	header := []string{"NAME", "FLEET", "STATE", "DOCKER", "GITHUB", "UP", "CPUS", "MEMORY", "JOB"}
	const github = 4
	if !agents {
		header = slices.Delete(header[:len(header)-1], github, github+1)
	}
	if hosts {
		header = slices.Insert(header, 1, "HOST")
	}
	rows := make([][]string, 0, len(runners))
	for _, runner := range runners {
		docker := "–"
		if runner.Ready {
			docker = runner.DockerVersion
		}
		row := []string{
			runner.Name, runner.Fleet, psState(runner), docker, psGitHub(runner), ui.Duration(now.Sub(runner.Created)),
			strconv.FormatFloat(runner.CPUs, 'g', -1, 64), ui.Bytes(runner.Memory), psJob(runner),
		}
		if !agents {
			row = slices.Delete(row[:len(row)-1], github, github+1)
		}
		if hosts {
			row = slices.Insert(row, 1, runner.Host)
		}
		rows = append(rows, row)
	}
	ui.Table(out, header, rows)
}

// psJob returns the address of the page of a runner's job, without its host.
func psJob(runner fleet.Runner) string {
	if runner.Listing == nil || runner.Listing.JobURL == "" {
		return "–"
	}
	address, err := url.Parse(runner.Listing.JobURL)
	if err != nil {
		return "–"
	}
	return ui.Plain(strings.TrimPrefix(address.Path, "/"))
}

// psGitHub returns GitHub's view in a word, with a mark if it differs from the container's
// state.
func psGitHub(runner fleet.Runner) string {
	listing := runner.Listing
	switch {
	case runner.Agent.Mode == fleet.NoAgent:
		return "–"
	case listing == nil:
		return "?"
	case listing.State == fleet.NotAsked:
		return string(listing.State)
	case listing.Busy && listing.State == fleet.Online:
		return "busy"
	}
	text := string(listing.State)
	if listing.Busy {
		text += ", busy"
	}
	if running := runner.State == fleet.Running; running && listing.State != fleet.Online || !running && (listing.State == fleet.Online || listing.Busy) {
		text += " ⚠"
	}
	return text
}

// psState returns the runner's state in one word, followed by anything that needs attention.
func psState(runner fleet.Runner) string {
	state := string(runner.State)
	switch {
	case runner.Busy:
		state = "busy"
	case runner.Ready:
		state = "ready"
	case runner.Problem != "":
		state = "not answering: " + ui.Plain(runner.Problem)
	case runner.State == fleet.Running:
		state = "starting"
	case runner.State == fleet.Exited && runner.Agent.Mode != fleet.NoAgent:
		state += ": " + fleet.Verdict(runner.ExitCode, runner.OutOfMemory)
	}
	if runner.DiskFull() {
		state += ", disk full"
	}
	if runner.Restarts > 0 {
		state += fmt.Sprintf(", daemon restarted %d×", runner.Restarts)
	}
	if runner.Revivals > 0 {
		state += fmt.Sprintf(", started again %d×", runner.Revivals)
	}
	return state
}
