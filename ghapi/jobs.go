package ghapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/go-github/v60/github"
)

// mostRuns is how many workflow runs are asked for their jobs, one call each.
const mostRuns = 20

// JobURLs gives the pages of jobs that run now, by the runner's name. GitHub tells
// it of repositories only, run by run; the newest are asked.
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
