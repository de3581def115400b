package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"golang.org/x/sync/errgroup"
)

// runWaves runs all waves. Before each wave, up converges to three runners again, because each
// runner is gone after its job.
func (r *run) runWaves(ctx context.Context) error {
	up := lifecycle.Up{Fleet: lifecycle.Fleet{Settings: r.Settings, Build: r.Build, Ready: time.Duration(r.Settings.Runners.ReadyTimeout), Theme: r.Theme}}
	var failures []error
	for i, jobs := range r.Waves {
		if err := up.Run(ctx, r.Session); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, waveLimit)
		err := r.wave(bounded, i+1, jobs)
		cancel()
		var wrong *WrongError
		if err != nil && !errors.As(err, &wrong) {
			return errors.Join(append(failures, err)...)
		}
		failures = append(failures, err)
	}
	return errors.Join(append(failures, collisions(r.rows))...)
}

// wave queues jobs and waits until they and their runners have ended.
func (r *run) wave(ctx context.Context, number int, jobs []Job) error {
	runners, err := r.engine.Runners(ctx, r.Settings.Name)
	if err != nil {
		return err
	}
	for _, script := range preparation(jobs) {
		if err := r.everywhere(ctx, runners, script); err != nil {
			return err
		}
	}
	show := r.NewProgress("auto", r.Theme)
	defer show.Close()
	ids := make([]int64, len(jobs))
	for i, job := range jobs {
		workflow, err := job.workflow()
		if err != nil {
			return err
		}
		if ids[i], err = r.github.Queue(workflow); err != nil {
			return err
		}
		show.Working(job.name, "queued")
	}
	if number == 1 {
		if err := r.lookForRoot(ctx, runners); err != nil {
			return err
		}
	}
	failures := make([]error, len(jobs))
	for left := len(jobs); left > 0; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wave %d: %d jobs have not ended: %w", number, left, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
		for i, job := range jobs {
			result, _ := r.github.Result(ids[i])
			switch {
			case ids[i] == 0:
			case result.Status != "completed":
				show.Working(job.name, result.Status+" "+result.Runner+" "+currentStep(result))
			default:
				ids[i] = 0
				left--
				r.rows = append(r.rows, newRow(job, number, result))
				if failures[i] = job.judge(result); failures[i] != nil {
					show.Failed(job.name, failures[i])
				} else {
					show.Done(job.name, result.Conclusion+", as expected, on "+result.Runner, result.Completed.Sub(result.Queued))
				}
			}
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return r.ended(ctx)
}

func currentStep(result ghsim.Result) string {
	for _, step := range result.Steps {
		if step.Status == "in_progress" {
			return step.Name
		}
	}
	return ""
}

// everywhere runs a script in all runners in parallel.
func (r *run) everywhere(ctx context.Context, runners []fleet.Runner, script string) error {
	title, text, err := readScript(script)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, runner := range runners {
		group.Go(func() error {
			_, err := r.output(ctx, runner, title, text)
			return err
		})
	}
	return group.Wait()
}

// output returns the output of a script in a runner's machine.
func (r *run) output(ctx context.Context, runner fleet.Runner, title, text string) (string, error) {
	var output bytes.Buffer
	code, err := r.engine.Exec(ctx, runner, dockerx.Command{Args: []string{"sh", "-c", text}, Stdout: &output, Stderr: &output})
	said := strings.TrimSpace(output.String())
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, said)
	}
	if err != nil {
		return "", fmt.Errorf("runner %s: %s: %w", runner.Name, title, err)
	}
	return said, nil
}

// lookForRoot counts the processes of uid 0 as the runners see them and as the host sees them.
// On the host there must be none.
func (r *run) lookForRoot(ctx context.Context, runners []fleet.Runner) error {
	var inside, outside []string
	for _, runner := range runners {
		count, err := r.output(ctx, runner, "its processes", "ps -e -o uid= | grep -cw 0")
		if err != nil {
			return err
		}
		uids, err := r.engine.HostUIDs(ctx, runner)
		if err != nil {
			return err
		}
		all := 0
		for _, processes := range uids {
			all += processes
		}
		root := uids["0"] + uids["root"]
		inside = append(inside, count)
		outside = append(outside, fmt.Sprintf("%d of %d (uid %s)", root, all, strings.Join(slices.Sorted(maps.Keys(uids)), ", ")))
		if root > 0 {
			return &WrongError{problem: fmt.Sprintf("runner %s has %d processes of uid 0 on the host", runner.Name, root)}
		}
	}
	r.roots = []string{"processes of uid 0, seen inside:        " + strings.Join(inside, " · "), "processes of uid 0, seen from the host: " + strings.Join(outside, " · ")}
	return nil
}

// ended waits until the runners, which have had their job, have ended.
func (r *run) ended(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	for {
		runners, err := r.engine.Runners(bounded, r.Settings.Name)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(runners, func(one fleet.Runner) bool { return one.State == fleet.Running })
		if at < 0 {
			return nil
		}
		select {
		case <-bounded.Done():
			return fmt.Errorf("runner %s completed its job but did not end: %w", runners[at].Name, bounded.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
