package demo

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Sim are the options of sim.
type Sim struct {
	Server     ghsim.Options
	Repository string
	Visibility ghsim.Visibility
	Jobs       string // file of a workflow; "" for no jobs
	Theme      ui.Theme
}

// Run serves the stand-in GitHub until ctx ends, and prints the results of its jobs.
func (o Sim) Run(ctx context.Context, s session.Session) error {
	jobs, err := o.readJobs()
	if err != nil {
		return err
	}
	server, err := ghsim.Start(o.Server)
	if err != nil {
		return err
	}
	defer server.Close()
	server.AddRepository(o.Repository, o.Visibility)
	written, err := writeAccess("runnerctl-sim-", server.CA(), server.ClassicToken(0, "repo", "admin:org", "manage_runners:enterprise"))
	if err != nil {
		return err
	}
	defer written.remove()
	fmt.Fprintf(s.Streams.Out, "target  %s/%s\nca      %s\ntoken   %s\n", server.URL, o.Repository, written.ca, written.token)
	for _, job := range jobs {
		job.Repository = o.Repository
		if _, err := server.Queue(job); err != nil {
			return err
		}
	}
	o.printJobs(ctx, s, server)
	fmt.Fprintf(s.Streams.Err, "%d registrations left\n", len(server.Runners()))
	return nil
}

func (o Sim) readJobs() ([]ghsim.Job, error) {
	if o.Jobs == "" {
		return nil, nil
	}
	text, err := os.ReadFile(o.Jobs)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	jobs, err := ghsim.ParseJobs(text)
	if err != nil {
		return nil, fmt.Errorf("jobs: %s: %w", o.Jobs, err)
	}
	return jobs, nil
}

// printJobs prints each change of a job until ctx ends.
func (o Sim) printJobs(ctx context.Context, s session.Session, server *ghsim.Server) {
	printed := map[int64]string{} // status by job
	for {
		for _, job := range server.Jobs() {
			if printed[job.ID] == job.Status {
				continue
			}
			printed[job.ID] = job.Status
			switch job.Status {
			case "queued":
				fmt.Fprintf(s.Streams.Out, "  %s: queued\n", job.Name)
			case "in_progress":
				fmt.Fprintf(s.Streams.Out, "  %s: on %s, after %s\n", job.Name, job.Runner, ui.Duration(job.Acquired.Sub(job.Queued)))
			default:
				mark := o.Theme.Check()
				if job.Conclusion != "success" {
					mark = o.Theme.Cross()
				}
				fmt.Fprintf(s.Streams.Out, "%s %s: %s on %s, %s\n", mark, job.Name, job.Conclusion, job.Runner, ui.Duration(job.Completed.Sub(job.Queued)))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
