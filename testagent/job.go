package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/ChristopherHX/github-act-runner/protocol"
	"github.com/ChristopherHX/github-act-runner/protocol/results"
	runservice "github.com/ChristopherHX/github-act-runner/protocol/run"
	"github.com/ChristopherHX/github-act-runner/runnerconfiguration"
)

// Results of steps and jobs, as the protocol spells them.
const (
	succeeded = "Succeeded"
	failed    = "Failed"
	cancelled = "Canceled"
	skipped   = "Skipped"
)

// worker runs one job.
type worker struct {
	request    *protocol.AgentJobRequestMessage
	service    string // of the run service: acquire, renew, complete
	connection *protocol.VssConnection
	log        *jobLog

	work, temp, workspace string
	github                map[string]string // the context github
	jobEnv                map[string]string // from the workflow, and set by steps
	path                  []string          // prepended by steps, the last first
	runner                map[string]string // RUNNER_…
	contexts              map[string]any    // sent with the job
	network               string
	container             *madeContainer    // if not nil, steps run in it
	made                  []*madeContainer  // the job's container and the services
	services              map[string]any    // the context job.services
	outcomes              map[string]any    // the context steps
	defaults              map[string]string // shell and working-directory for steps without their own

	stopped     atomic.Bool // the runner must stop
	steps       []*workerStep
	current     *workerStep
	result      string
	annotations []runservice.Annotation
}

// workerStep is a step of the job, or one of the runner's own steps around them.
type workerStep struct {
	record    protocol.TimelineRecord
	id        string // in the context steps; empty for the runner's own
	condition string
	tolerated bool // its failure does not fail the job
	outputs   map[string]any
	given     *protocol.ActionStep // nil for the runner's own
	run       func(context.Context, *workerStep) error
}

func newWorker(root string, instance *runnerconfiguration.RunnerInstance, request *protocol.AgentJobRequestMessage, service string) (*worker, error) {
	connection, data, err := request.GetConnection("SystemVssConnection")
	if err != nil {
		return nil, err
	}
	connection.Client = &http.Client{Timeout: httpLimit}
	resultsConnection := *connection
	resultsConnection.TenantURL = request.Variables["system.github.results_endpoint"].Value
	work := instance.WorkFolder
	if !filepath.IsAbs(work) {
		work = filepath.Join(root, work)
	}
	w := &worker{
		request: request, service: strings.TrimSuffix(service, "/"), connection: connection,
		log:  newJobLog(request, &resultsConnection, data["FeedStreamUrl"]),
		work: work, temp: filepath.Join(work, "_temp"), github: map[string]string{}, jobEnv: map[string]string{}, result: succeeded,
		contexts: given(request), services: map[string]any{}, outcomes: map[string]any{}, defaults: map[string]string{},
	}
	if context, is := request.ContextData["github"]; is {
		raw, _ := context.ToRawObject().(map[string]any)
		for name, value := range raw {
			if text, is := value.(string); is {
				w.github[name] = text
			}
		}
	}
	_, repository, _ := strings.Cut(w.github["repository"], "/")
	w.workspace = filepath.Join(work, repository, repository)
	w.runner = map[string]string{
		"RUNNER_NAME": instance.Agent.Name, "RUNNER_OS": "Linux", "RUNNER_ARCH": architecture(), "RUNNER_ENVIRONMENT": "self-hosted",
		"RUNNER_TEMP": w.temp, "RUNNER_TOOL_CACHE": tools(work), "RUNNER_WORKSPACE": filepath.Dir(w.workspace),
	}
	return w, nil
}

func architecture() string {
	return map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH]
}

// run runs the job to its end, reports to GitHub, and returns the result. When ctx ends, this
// program is about to end: the running step is killed, and the other steps are skipped.
func (w *worker) run(ctx context.Context, cancel <-chan struct{}) string {
	w.plan()
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-cancel:
			stop()
		case <-running.Done():
		}
	}()
	for _, step := range w.steps {
		w.runStep(ctx, running, step)
	}
	if err := w.log.close(); err != nil {
		say("job %s: log: %s", w.request.JobDisplayName, firstLine(err))
	}
	w.complete()
	return w.result
}

// plan lists the job's steps, and the runner's own steps around them.
func (w *worker) plan() {
	own := func(name, condition string, run func(context.Context, *workerStep) error) {
		w.steps = append(w.steps, &workerStep{record: protocol.CreateTimelineEntry(w.request.JobID, "", name), condition: condition, run: run})
	}
	own("Set up job", "success()", w.setUp)
	if hook := os.Getenv("ACTIONS_RUNNER_HOOK_JOB_STARTED"); hook != "" {
		own("Set up runner", "success()", w.hook(hook, "job started hook"))
	}
	if wantsContainers(w.request) {
		own("Initialize containers", "success()", w.startContainers)
	}
	for i := range w.request.Steps {
		given := &w.request.Steps[i]
		step := &workerStep{record: protocol.CreateTimelineEntry(w.request.JobID, given.ContextName, "Run"), id: given.ContextName, condition: given.Condition, given: given, run: w.runOf(given)}
		step.record.ID = given.ID
		if given.DisplayNameToken != nil && given.DisplayNameToken.Lit != nil {
			step.record.Name = *given.DisplayNameToken.Lit
		}
		step.tolerated = given.ContinueOnError != nil && given.ContinueOnError.Bool != nil && *given.ContinueOnError.Bool
		w.steps = append(w.steps, step)
	}
	if wantsContainers(w.request) {
		own("Stop containers", "always()", w.stopContainers)
	}
	if hook := os.Getenv("ACTIONS_RUNNER_HOOK_JOB_COMPLETED"); hook != "" {
		own("Complete runner", "always()", w.hook(hook, "job completed hook"))
	}
	own("Complete job", "always()", func(context.Context, *workerStep) error { return nil })
	for i, step := range w.steps {
		step.record.Order = int32(i + 1)
	}
}

// runStep runs a step if its condition holds. A cancellation of the job stops the step, unless
// its condition holds for cancelled jobs too.
func (w *worker) runStep(ctx, running context.Context, step *workerStep) {
	if running.Err() != nil && w.result == succeeded {
		w.result = cancelled
	}
	env, err := w.environmentOf(step)
	now := w.expressions(env)
	wanted := false
	if err == nil && ctx.Err() == nil {
		if step.given != nil {
			if name, problem := now.token(step.given.DisplayNameToken); problem == nil { // otherwise the name stays as it is
				step.record.Name = textOf(name)
			}
		}
		wanted, err = now.holds(step.condition)
	}
	if err == nil && !wanted {
		step.record.Complete(skipped)
		w.note(step, skipped, skipped)
		w.update()
		return
	}
	step.record.Start()
	w.update()
	w.log.begin(step.record.ID)
	limit, stop := context.WithCancel(ctx)
	defer stop()
	if running.Err() == nil {
		later := now
		later.status = cancelled
		defer context.AfterFunc(running, func() {
			if still, _ := later.holds(step.condition); !still {
				stop()
			}
		})()
	}
	minutes := 0.0
	if err == nil && step.given != nil {
		var value any
		if value, err = now.token(step.given.TimeoutInMinutes); err == nil && value != nil {
			minutes = numberOf(value)
		}
	}
	timed := limit
	if minutes > 0 {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeout(limit, time.Duration(minutes*float64(time.Minute)))
		defer cancel()
	}
	if err == nil {
		w.current = step
		err = step.run(timed, step)
		w.current = nil
	}
	result := succeeded
	switch {
	case err != nil && limit.Err() != nil:
		result = cancelled
		w.log.line("##[error]The operation was canceled.")
	case err != nil:
		result = failed
		if timed.Err() != nil {
			err = fmt.Errorf("The action '%s' has timed out after %g minutes.", step.record.Name, minutes) //nolint:staticcheck,revive // GitHub's words
		}
		w.log.line("##[error]" + err.Error())
		w.annotations = append(w.annotations, runservice.Annotation{Level: runservice.FAILURE, Message: err.Error(), StepNumber: int64(step.record.Order)})
	}
	if err := w.log.end(); err != nil {
		say("job %s: log of %s: %s", w.request.JobDisplayName, step.record.Name, firstLine(err))
	}
	conclusion := result
	if result == failed && step.tolerated {
		conclusion = succeeded
	}
	step.record.Complete(result)
	w.note(step, result, conclusion)
	if result == cancelled || conclusion == failed && w.result == succeeded {
		w.result = result
	}
	w.update()
}

// note records a step's end for the context steps.
func (w *worker) note(step *workerStep, outcome, conclusion string) {
	if step.id == "" || strings.HasPrefix(step.id, "__") {
		return
	}
	words := map[string]string{succeeded: "success", failed: "failure", cancelled: "cancelled", skipped: "skipped"}
	outputs := step.outputs
	if outputs == nil {
		outputs = map[string]any{}
	}
	w.outcomes[step.id] = map[string]any{"outputs": outputs, "outcome": words[outcome], "conclusion": words[conclusion]}
}

// environmentOf returns the variables that a step sets itself.
func (w *worker) environmentOf(step *workerStep) (map[string]string, error) {
	if step.given == nil {
		return nil, nil
	}
	return w.expressions(nil).texts(step.given.Environment)
}

// statusNumbers maps the package's numbers, which are consecutive, to GitHub's
// (Sdk/WebApi/WebApi/Contracts.cs:192-198).
var statusNumbers = map[results.Status]results.Status{results.StatusInProgress: 3, results.StatusPending: 5, results.StatusCompleted: 6}

// update reports the state of all steps to GitHub.
func (w *worker) update() {
	var all []results.Step
	for _, step := range w.steps {
		one := results.ConvertTimelineRecordToStep(&step.record)
		one.Status = statusNumbers[one.Status]
		all = append(all, one)
	}
	if err := w.log.update(all); err != nil {
		say("job %s: steps: %s", w.request.JobDisplayName, firstLine(err))
	}
}

// complete reports the result to GitHub, in up to five attempts.
func (w *worker) complete() {
	if w.stopped.Load() { // Runner.Worker/JobRunner.cs:125-143
		w.annotations = append(w.annotations, runservice.Annotation{Level: runservice.FAILURE, Message: "The runner has received a shutdown signal. This can happen when the runner service is stopped, or a manually started runner is canceled."})
	}
	body := &runservice.CompleteJobRequest{
		PlanID: w.request.Plan.PlanID, JobID: w.request.JobID, Conclusion: strings.ToLower(w.result), Annotations: w.annotations, BillingOwnerID: w.request.BillingOwnerID,
	}
	for _, step := range w.steps {
		body.StepResults = append(body.StepResults, runservice.TimeLineRecordToStepResult(&step.record))
	}
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := w.connection.RequestWithContext2(ctx, http.MethodPost, w.service+"/completejob", "", body, nil)
		cancel()
		if err == nil || attempt == 5 {
			if err != nil {
				say("job %s: complete: %s", w.request.JobDisplayName, firstLine(err))
			}
			return
		}
		time.Sleep(5 * time.Second)
	}
}

// setUp makes the folders and logs where the job runs.
func (w *worker) setUp(ctx context.Context, _ *workerStep) error {
	for _, mask := range w.request.MaskHints {
		w.log.mask(strings.ReplaceAll(mask.Value, `\`, "")) // masks are quoted literals
	}
	for _, variable := range w.request.Variables {
		if variable.IsSecret {
			w.log.mask(variable.Value)
		}
	}
	w.log.line(fmt.Sprintf("Current runner version: '%s'", version))
	w.log.line(fmt.Sprintf("Runner name: '%s'", w.runner["RUNNER_NAME"]))
	if host, err := os.Hostname(); err == nil {
		w.log.line(fmt.Sprintf("Machine name: '%s'", host))
	}
	if err := os.RemoveAll(w.temp); err != nil {
		return err
	}
	for _, folder := range []string{filepath.Join(w.temp, "_runner_file_commands"), filepath.Join(w.temp, "_github_workflow"), filepath.Join(w.temp, "_github_home"),
		w.runner["RUNNER_TOOL_CACHE"], filepath.Join(w.work, "_actions"), filepath.Join(filepath.Dir(w.work), "externals"), w.workspace} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	w.github["workspace"] = w.workspace
	w.github["event_path"] = filepath.Join(w.temp, "_github_workflow", "event.json")
	if err := os.WriteFile(w.github["event_path"], []byte("{}"), 0o644); err != nil {
		return err
	}
	if err := w.resolve(ctx); err != nil {
		return err
	}
	w.log.line("Complete job name: " + w.request.JobDisplayName)
	return w.evaluateJob()
}

// evaluateJob evaluates the parts of the workflow that hold for all steps.
func (w *worker) evaluateJob() error {
	for i := range w.request.EnvironmentVariables {
		env, err := w.expressions(nil).texts(&w.request.EnvironmentVariables[i])
		if err != nil {
			return fmt.Errorf("env: %w", err)
		}
		maps.Copy(w.jobEnv, env)
	}
	for i := range w.request.Defaults {
		value, err := w.expressions(nil).token(&w.request.Defaults[i])
		if err != nil {
			return fmt.Errorf("defaults: %w", err)
		}
		run, _ := index(value, "run").(map[string]any)
		for key, each := range run {
			w.defaults[key] = textOf(each)
		}
	}
	return nil
}

// contextNames are the members of the github context that steps see as variables.
var contextNames = []string{"action_path", "actor", "api_url", "event_name", "event_path", "graphql_url", "job", "ref", "ref_name", "ref_type", "repository", "repository_owner",
	"run_attempt", "run_id", "run_number", "server_url", "sha", "triggering_actor", "workflow", "workspace"}

// environment returns the variables that a step sees. files are those of its commands.
func (w *worker) environment(own map[string]string, files map[string]string) map[string]string {
	env := map[string]string{}
	if w.container == nil {
		for _, pair := range os.Environ() {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
	}
	maps.Copy(env, w.jobEnv)
	maps.Copy(env, own)
	env["CI"], env["GITHUB_ACTIONS"] = "true", "true"
	for _, name := range contextNames {
		if value, known := w.github[name]; known {
			env["GITHUB_"+strings.ToUpper(name)] = value
		}
	}
	maps.Copy(env, w.runner)
	maps.Copy(env, files)
	if len(w.path) > 0 && w.container == nil {
		env["PATH"] = strings.Join(append(slices.Clone(w.path), env["PATH"]), ":")
	}
	return env
}

// hook returns the function that runs an operator's script as a step of the job.
func (w *worker) hook(path, name string) func(context.Context, *workerStep) error {
	return func(ctx context.Context, _ *workerStep) error {
		w.log.line("A " + name + " has been configured by the self-hosted runner administrator")
		if _, err := os.Stat(path); err != nil {
			return errors.New("File doesn't exist") //nolint:staticcheck // GitHub's words
		}
		if filepath.Ext(path) != ".sh" {
			return fmt.Errorf("%s is not a valid path to a script. Make sure it has an appropriate extension (.sh or .ps1)", path)
		}
		return w.execute(ctx, onHost, []string{"bash", "-e", path}, w.workspace, nil)
	}
}

// runOf returns the function that runs a step.
func (w *worker) runOf(given *protocol.ActionStep) func(context.Context, *workerStep) error {
	switch {
	case strings.EqualFold(given.Reference.Type, "script"):
		return w.script(given)
	case strings.EqualFold(given.Reference.Type, "repository"):
		return w.local(given)
	}
	return func(context.Context, *workerStep) error {
		return fmt.Errorf("a step of the type %s is not known to this agent", given.Reference.Type)
	}
}

// script returns the function that runs a script step.
func (w *worker) script(given *protocol.ActionStep) func(context.Context, *workerStep) error {
	return func(ctx context.Context, step *workerStep) error {
		env, err := w.environmentOf(step)
		if err != nil {
			return err
		}
		inputs, err := w.expressions(env).texts(given.Inputs)
		if err != nil {
			return err
		}
		for input, name := range map[string]string{"shell": "shell", "workingDirectory": "working-directory"} {
			if inputs[input] == "" {
				inputs[input] = w.defaults[name]
			}
		}
		return w.runScript(ctx, inputs["shell"], inputs["script"], inputs["workingDirectory"], env)
	}
}

// runScript runs a script in the named shell, or in the default of the machine or the
// container.
func (w *worker) runScript(ctx context.Context, name, script, folder string, env map[string]string) error {
	shell := map[string][]string{"": {"bash", "-e"}, "bash": {"bash", "--noprofile", "--norc", "-e", "-o", "pipefail"}, "sh": {"sh", "-e"}}[name]
	switch {
	case shell == nil:
		return fmt.Errorf("the shell %s is not known to this agent", name)
	case name == "" && w.container != nil:
		shell = []string{"sh", "-e"}
	}
	file := filepath.Join(w.temp, uuid.NewString()+".sh")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		return err
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(w.workspace, folder)
	}
	w.log.line("##[group]Run " + firstOf(script))
	w.log.line(script)
	w.log.line("##[endgroup]")
	place := onHost
	if w.container != nil {
		place = inContainer
	}
	return w.execute(ctx, place, append(slices.Clone(shell), file), folder, env)
}

func firstOf(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return first
}
