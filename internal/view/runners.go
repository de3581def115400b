package view

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// WriteRunners prints a table of runners. It has a column for GitHub if any runner has an agent,
// one for the cache if any has used it, and one for hosts if there are several.
func WriteRunners(w io.Writer, runners []fleet.Runner, hosts bool, now time.Time) {
	agents := slices.ContainsFunc(runners, func(runner fleet.Runner) bool { return runner.Agent.Mode != fleet.NoAgent })
	cached := slices.ContainsFunc(runners, func(runner fleet.Runner) bool { return runner.Cache != nil })
	header := []string{"NAME", "FLEET", "STATE", "DOCKER", "GITHUB", "UP", "CPUS", "MEMORY", "CACHE HITS", "JOB"}
	const github, hits = 4, 8
	if !cached {
		header = slices.Delete(header, hits, hits+1)
	}
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
			docker = cmp.Or(runner.DockerVersion, "on demand")
		}
		row := []string{
			runner.Name, runner.Fleet, stateOf(runner), docker, listingOf(runner), ui.Duration(now.Sub(runner.Created)),
			strconv.FormatFloat(runner.CPUs, 'g', -1, 64), ui.Bytes(runner.Memory), hitsOf(runner), jobOf(runner),
		}
		if !cached {
			row = slices.Delete(row, hits, hits+1)
		}
		if !agents {
			row = slices.Delete(row[:len(row)-1], github, github+1)
		}
		if hosts {
			row = slices.Insert(row, 1, runner.Host)
		}
		rows = append(rows, row)
	}
	ui.Table(w, header, rows)
}

// WriteNames prints the name of each runner on a line.
func WriteNames(w io.Writer, runners []fleet.Runner) {
	for _, runner := range runners {
		fmt.Fprintln(w, runner.Name)
	}
}

// hitsOf returns how many of a runner's lookups in the cache were hits.
func hitsOf(runner fleet.Runner) string {
	if runner.Cache == nil {
		return "–"
	}
	return fmt.Sprintf("%d of %d", runner.Cache.Hits, runner.Cache.Hits+runner.Cache.Misses)
}

// jobOf returns the address of the page of a runner's job, without its host.
func jobOf(runner fleet.Runner) string {
	if runner.Listing == nil || runner.Listing.JobURL == "" {
		return "–"
	}
	address, err := url.Parse(runner.Listing.JobURL)
	if err != nil {
		return "–"
	}
	return ui.Plain(strings.TrimPrefix(address.Path, "/"))
}

// listingOf returns GitHub's view in a word, with a mark if it differs from the container's
// state.
func listingOf(runner fleet.Runner) string {
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

// stateOf returns a runner's state in one word, followed by anything that needs attention.
func stateOf(runner fleet.Runner) string {
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
