package ghsim

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The states of a job. GitHub's REST API has no "assigned".
const (
	queued    = "queued"
	assigned  = "assigned"
	running   = "in_progress"
	completed = "completed"
)

type job struct {
	id, run, messageID, requestNumber    int64
	requestID, uuid, planID, timelineID  string
	spec                                 Job
	status, conclusion                   string
	runner                               *runner
	runnerName                           string
	token                                string // for the job's own connection
	queuedAt, assignedAt, acquiredAt     time.Time
	firstStepAt, completedAt, lockedTill time.Time
	acknowledged, cancelled, cancelTold  bool
	steps                                []*step
	logs, diagnostics                    *blob
	artifacts                            []*artifact
	live                                 []string // lines from the feed
	annotations                          []string
}

// step is one step of a job: one of the workflow, with the id that this server sent, or a step
// that the runner added.
type step struct {
	id                 string
	number             int
	name               string
	ours               bool
	status, conclusion string
	started, completed string // as reported by the runner
	logs, summary      *blob
}

// Result is the state of a job.
type Result struct {
	ID         int64
	Name       string
	Status     string // queued, in_progress, completed
	Conclusion string // success, failure, cancelled, skipped; empty until the end
	Runner     string // name of the runner that has or had the job
	Queued     time.Time
	Assigned   time.Time // when a runner's poll got it
	Acquired   time.Time // when that runner acquired it
	FirstStep  time.Time // when the first step was reported as started, by this server's clock
	Completed  time.Time
	Steps      []StepResult
	Log        string            // of the whole job
	Live       []string          // lines of the live log
	Failures   []string          // annotations of level failure
	Artifacts  map[string][]byte // by name, as uploaded
}

// StepResult is the state of a step of a job. The runner's own steps (Set up job, …) are
// included.
type StepResult struct {
	Name       string
	Status     string // pending, in_progress, completed
	Conclusion string
	Started    string // RFC 3339, by the runner's clock
	Completed  string
	Log        string
	Summary    string // Markdown
}

// Queue queues a job for the first runner that fits.
func (s *Server) Queue(spec Job) (int64, error) {
	if spec.Repository == "" {
		spec.Repository = "acme/api"
	}
	if err := spec.check(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[place("repos/"+spec.Repository)] == nil {
		return 0, fmt.Errorf("job %s: no repository %s", spec.Name, spec.Repository)
	}
	made := &job{
		id: s.id(), run: s.id(), messageID: s.id(), requestNumber: s.id(),
		requestID: uuid.NewString(), uuid: uuid.NewString(), planID: uuid.NewString(), timelineID: uuid.NewString(),
		spec: spec, status: queued, queuedAt: s.now(),
	}
	for i, each := range spec.Steps {
		made.steps = append(made.steps, &step{id: uuid.NewString(), number: i + 1, name: each.title(), ours: true, status: "pending"})
	}
	s.jobs = append(s.jobs, made)
	s.announce()
	return made.id, nil
}

// Cancel ends a job: at once if no runner runs it yet, otherwise by asking its runner.
func (s *Server) Cancel(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.job(id); j != nil {
		s.cancel(j)
	}
}

// cancel is Cancel for callers that hold s.mu.
func (s *Server) cancel(j *job) {
	if j.status == completed {
		return
	}
	j.cancelled = true
	if j.status != running {
		s.finish(j, "cancelled")
	}
	s.announce()
}

// Result returns the state of a job.
func (s *Server) Result(id int64) (Result, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(id)
	if j == nil {
		return Result{}, false
	}
	return j.result(), true
}

// Jobs returns all jobs, in the order of the queue.
func (s *Server) Jobs() []Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Result
	for _, j := range s.jobs {
		all = append(all, j.result())
	}
	return all
}

// Wait waits until the job is completed.
func (s *Server) Wait(ctx context.Context, id int64) (Result, error) {
	err := s.await(ctx, func() bool {
		j := s.job(id)
		return j == nil || j.status == completed
	})
	result, found := s.Result(id)
	if !found {
		return Result{}, fmt.Errorf("job %d: not found", id)
	}
	if err != nil {
		return result, fmt.Errorf("job %d %s: %s: %w", id, result.Name, result.Status, err)
	}
	return result, nil
}

// WaitOnline waits until count runners are online.
func (s *Server) WaitOnline(ctx context.Context, count int) error {
	online := 0
	err := s.await(ctx, func() bool {
		online = 0
		for _, r := range s.runners {
			if r.session != nil {
				online++
			}
		}
		return online >= count
	})
	if err != nil {
		return fmt.Errorf("%d of %d runners online: %w", online, count, err)
	}
	return nil
}

func (s *Server) job(id int64) *job {
	for _, j := range s.jobs {
		if j.id == id {
			return j
		}
	}
	return nil
}

func (j *job) result() Result {
	r := Result{
		ID: j.id, Name: j.spec.Name, Status: j.restStatus(), Conclusion: j.conclusion, Runner: j.runnerName,
		Queued: j.queuedAt, Assigned: j.assignedAt, Acquired: j.acquiredAt, FirstStep: j.firstStepAt, Completed: j.completedAt,
		Log: j.logs.text(), Live: slices.Clone(j.live), Failures: slices.Clone(j.annotations),
	}
	for _, each := range j.artifacts {
		if each.final {
			if r.Artifacts == nil {
				r.Artifacts = map[string][]byte{}
			}
			r.Artifacts[each.name] = []byte(each.blob.text())
		}
	}
	for _, each := range j.steps {
		r.Steps = append(r.Steps, StepResult{
			Name: each.name, Status: each.status, Conclusion: each.conclusion, Started: each.started, Completed: each.completed,
			Log: each.logs.text(), Summary: each.summary.text(),
		})
	}
	return r
}

func (j *job) restStatus() string {
	if j.status == assigned {
		return queued
	}
	return j.status
}

// fits reports whether a runner may take the job: it is registered for the job's repository
// and has all labels that the job asks for.
func (j *job) fits(r *runner) bool {
	if !r.place.serves(j.spec.Repository) {
		return false
	}
	for _, wanted := range j.spec.RunsOn {
		if !slices.ContainsFunc(r.labels, func(l label) bool { return strings.EqualFold(l.Name, wanted) }) {
			return false
		}
	}
	return true
}

// assign gives a job to a runner. The caller must hold s.mu, as for all functions below that
// do not take a call.
func (s *Server) assign(j *job, to *runner) {
	j.status, j.runner, j.runnerName, j.assignedAt, j.acknowledged = assigned, to, to.name, s.now(), false
	to.job = j
	s.announce()
}

func (s *Server) requeueUnacquired(of *runner) {
	if j := of.job; j != nil && j.status == assigned {
		of.job = nil
		j.status, j.runner, j.runnerName = queued, nil, ""
		s.announce()
	}
}

// expireJobs requeues jobs that were not acquired in time, fails jobs that were not renewed,
// and cancels jobs that exceed their timeout.
func (s *Server) expireJobs() {
	for _, j := range s.jobs {
		switch {
		case j.status == assigned && s.now().Sub(j.assignedAt) > s.options.AcquireTimeout:
			s.requeueUnacquired(j.runner)
		case j.status == running && s.now().After(j.lockedTill):
			j.annotations = append(j.annotations, fmt.Sprintf("The self-hosted runner: %s lost communication with the server. "+
				"Verify the machine is running and has a healthy network connection.", j.runnerName))
			s.finish(j, "failure")
		case j.status == running && !j.cancelled && s.now().Sub(j.acquiredAt) > j.spec.timeout():
			j.annotations = append(j.annotations, fmt.Sprintf("The job has exceeded the maximum execution time of %d minutes", int(j.spec.timeout().Minutes())))
			j.cancelled = true
		}
	}
}

// finish ends a job. Its runner, if ephemeral, vanishes with it.
func (s *Server) finish(j *job, conclusion string) {
	j.status, j.conclusion, j.completedAt = completed, conclusion, s.now()
	maps.DeleteFunc(s.actors, func(_ string, who *actor) bool { return who.job == j })
	for _, each := range j.steps {
		if each.status != completed {
			each.status, each.conclusion = completed, "cancelled"
		}
	}
	if r := j.runner; r != nil {
		r.job = nil
		if r.ephemeral && !j.acquiredAt.IsZero() {
			r.ends = s.now().Add(s.options.Linger)
			s.expireRunners()
		}
	}
	if group := j.spec.Strategy; group != nil && conclusion == "failure" && group.failFast() {
		for _, other := range s.jobs {
			if other.spec.Strategy == group {
				s.cancel(other)
			}
		}
	}
	s.announce()
}

func (j *job) json(base string) any {
	steps := []any{}
	for _, each := range j.steps {
		steps = append(steps, map[string]any{"name": each.name, "status": each.status, "conclusion": orNull(each.conclusion), "number": each.number,
			"started_at": orNull(each.started), "completed_at": orNull(each.completed)})
	}
	body := map[string]any{
		"id": j.id, "run_id": j.run, "name": j.spec.Name, "status": j.restStatus(), "conclusion": orNull(j.conclusion), "labels": j.spec.RunsOn, "steps": steps,
		"html_url":   fmt.Sprintf("%s/%s/actions/runs/%d/job/%d", base, j.spec.Repository, j.run, j.id),
		"created_at": stamp(j.queuedAt), "started_at": stamp(j.acquiredAt), "completed_at": stamp(j.completedAt),
		"runner_id": nil, "runner_name": orNull(j.runnerName),
	}
	if j.runner != nil {
		body["runner_id"] = j.runner.id
	}
	return body
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func stamp(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UTC().Format(time.RFC3339)
}

func (s *Server) getJob(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.job(c.number("id")); j != nil && j.spec.Repository == c.place.name() {
		return answer{status: http.StatusOK, body: j.json(s.URL)}
	}
	return refusal(notFound)
}

func (s *Server) listJobs(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []any{}
	for _, j := range s.jobs {
		if j.run == c.number("id") && j.spec.Repository == c.place.name() {
			all = append(all, j.json(s.URL))
		}
	}
	return answer{status: http.StatusOK, body: map[string]any{"total_count": len(all), "jobs": page(c.Request, all)}, paged: true, total: len(all)}
}

// listRuns lists each job as a run of its own.
func (s *Server) listRuns(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []any{}
	for _, j := range slices.Backward(s.jobs) {
		if asked := c.URL.Query().Get("status"); j.spec.Repository != c.place.name() || asked != "" && asked != j.restStatus() && asked != j.conclusion {
			continue
		}
		all = append(all, map[string]any{"id": j.run, "name": j.spec.Name, "status": j.restStatus(), "conclusion": orNull(j.conclusion),
			"html_url": fmt.Sprintf("%s/%s/actions/runs/%d", s.URL, j.spec.Repository, j.run), "created_at": stamp(j.queuedAt)})
	}
	return answer{status: http.StatusOK, body: map[string]any{"total_count": len(all), "workflow_runs": page(c.Request, all)}, paged: true, total: len(all)}
}
