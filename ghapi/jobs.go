package ghapi

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/google/go-github/v60/github"
)

var runOfJob = regexp.MustCompile(`/actions/runs/([0-9]{1,19})(/|$)`)

// Queued returns how long the job of a runner waited for it; 0 if GitHub does not report that.
// GitHub reports it for repositories only. jobURL is the page of the job or of its run.
func (c *Client) Queued(ctx context.Context, jobURL, runner string) (time.Duration, error) {
	run := runOfJob.FindStringSubmatch(jobURL)
	if c.target.Kind != Repo || run == nil {
		return 0, nil
	}
	var jobs github.Jobs
	if err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/actions/runs/%s/jobs?per_page=%d", c.target.route(), run[1], perPage), nil, &jobs); err != nil {
		return 0, fmt.Errorf("jobs of run %s of %s: %w", run[1], c.target, err)
	}
	for _, job := range jobs.Jobs {
		if job.GetRunnerName() == runner && !job.GetCreatedAt().IsZero() && job.GetStartedAt().After(job.GetCreatedAt().Time) {
			return job.GetStartedAt().Sub(job.GetCreatedAt().Time), nil
		}
	}
	return 0, nil
}

// mostRuns limits the number of workflow runs whose jobs are listed, with one call each.
const mostRuns = 20

// JobURLs returns the pages of the jobs that run now, by the runner's name. GitHub lists them
// for repositories only, run by run; the newest runs are queried.
func (c *Client) JobURLs(ctx context.Context) (map[string]string, error) {
	urls := map[string]string{}
	if c.target.Kind != Repo {
		return urls, nil
	}
	var runs github.WorkflowRuns
	if err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/actions/runs?status=in_progress&per_page=%d", c.target.route(), mostRuns), nil, &runs); err != nil {
		return nil, fmt.Errorf("workflow runs of %s: %w", c.target, err)
	}
	for _, run := range runs.WorkflowRuns {
		var jobs github.Jobs
		if err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/actions/runs/%d/jobs?per_page=%d", c.target.route(), run.GetID(), perPage), nil, &jobs); err != nil {
			return nil, fmt.Errorf("jobs of run %d of %s: %w", run.GetID(), c.target, err)
		}
		for _, job := range jobs.Jobs {
			if job.GetStatus() == "in_progress" && job.GetRunnerName() != "" {
				urls[job.GetRunnerName()] = job.GetHTMLURL()
			}
		}
	}
	return urls, nil
}
