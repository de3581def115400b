package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type simOptions struct {
	server     ghsim.Options
	repository string
	visibility ghsim.Visibility
	jobs       string // file
	theme      ui.Theme
}

// simCommand is for developing runnerctl, or for seeing it at work without GitHub.
func simCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "sim",
		Category: "More",
		Usage:    "run a stand-in GitHub until Ctrl-C, for development",
		Hidden:   true,
		Description: "Prints its target, the files of its CA and of a token, and then the results of the jobs.\n\nExamples:\n" +
			"   runnerctl sim --jobs workflow.yaml\n" +
			"   runnerctl sim --jobs workflow.yaml --runner-address 172.17.0.1:0",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "jobs", Usage: "queue the jobs of a workflow `FILE`: name, runs-on, env, container, steps with run"},
			&cli.StringFlag{Name: "address", Usage: "`HOST:PORT` of the API, TLS", Value: "127.0.0.1:0"},
			&cli.StringFlag{Name: "runner-address", Usage: "`HOST:PORT` for runners; the address of a Docker bridge reaches containers", Value: "127.0.0.1:0"},
			&cli.StringFlag{Name: "repository", Usage: "`OWNER/REPO` that has the jobs", Value: "acme/api"},
			&cli.BoolFlag{Name: "public", Usage: "the repository is public"},
			flags.Color(),
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options := simOptions{
				server:     ghsim.Options{Address: c.String("address"), RunnerAddress: c.String("runner-address")},
				repository: c.String("repository"), visibility: ghsim.Private, jobs: c.String("jobs"),
			}
			if c.Bool("public") {
				options.visibility = ghsim.Public
			}
			var err error
			if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return runSim(c.Context, s, options)
		},
	}, offline: true}
}

func runSim(ctx context.Context, s session.Session, options simOptions) error {
	var jobs []ghsim.Job
	if options.jobs != "" {
		text, err := os.ReadFile(options.jobs)
		if err != nil {
			return fmt.Errorf("jobs: %w", err)
		}
		if jobs, err = ghsim.ParseJobs(text); err != nil {
			return fmt.Errorf("jobs: %s: %w", options.jobs, err)
		}
	}
	server, err := ghsim.Start(options.server)
	if err != nil {
		return err
	}
	defer server.Close()
	server.AddRepository(options.repository, options.visibility)
	folder, err := os.MkdirTemp("", "runnerctl-sim-")
	if err != nil {
		return fmt.Errorf("stand-in GitHub: %w", err)
	}
	defer os.RemoveAll(folder)
	ca, token := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "token")
	for path, content := range map[string][]byte{ca: server.CA(), token: []byte(server.ClassicToken(0, "repo", "admin:org", "manage_runners:enterprise"))} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("stand-in GitHub: %w", err)
		}
	}
	fmt.Fprintf(s.Streams.Out, "target  %s/%s\nca      %s\ntoken   %s\n", server.URL, options.repository, ca, token)
	for _, job := range jobs {
		job.Repository = options.repository
		if _, err := server.Queue(job); err != nil {
			return err
		}
	}
	tellJobs(ctx, s, server, options.theme)
	fmt.Fprintf(s.Streams.Err, "%d registrations left\n", len(server.Runners()))
	return nil
}

// tellJobs prints each change of a job until ctx ends.
func tellJobs(ctx context.Context, s session.Session, server *ghsim.Server, theme ui.Theme) {
	told := map[int64]string{}
	for {
		for _, job := range server.Jobs() {
			if told[job.ID] == job.Status {
				continue
			}
			told[job.ID] = job.Status
			switch job.Status {
			case "queued":
				fmt.Fprintf(s.Streams.Out, "  %s: queued\n", job.Name)
			case "in_progress":
				fmt.Fprintf(s.Streams.Out, "  %s: on %s, after %s\n", job.Name, job.Runner, ui.Duration(job.Acquired.Sub(job.Queued)))
			default:
				mark := theme.Check()
				if job.Conclusion != "success" {
					mark = theme.Cross()
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
