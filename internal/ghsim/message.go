package ghsim

import (
	"cmp"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// runError writes a refusal of the run service, in the form that actions/runner reads.
func runError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"source": "actions-run-service", "statusCode": status, "errorMessage": message})
}

// acquireJob returns the whole job to the runner that it was assigned to.
func (s *Server) acquireJob(w http.ResponseWriter, r *http.Request, by *runner) {
	var asked acquisition
	if !body(w, r, &asked) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.jobs, func(j *job) bool { return j.requestID == asked.Message })
	if at < 0 || s.jobs[at].status == completed {
		runError(w, http.StatusNotFound, "Job not found")
		return
	}
	j := s.jobs[at]
	if j.runner != by || j.status != assigned {
		runError(w, http.StatusConflict, "The job assignment is invalid: it is another runner's, or acquired already")
		return
	}
	j.status, j.acquiredAt, j.lockedTill = running, s.now(), s.now().Add(s.options.JobLock)
	j.token = s.jobToken(j)
	s.actors[j.token] = &actor{name: "job " + j.spec.Name, job: j}
	s.announce()
	writeJSON(w, http.StatusOK, s.jobMessage(j))
}

// asJob admits only requests with a running job's own token.
func (s *Server) asJob(do func(http.ResponseWriter, *http.Request, *job)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		who := s.who(r)
		s.mu.Unlock()
		if who == nil || who.job == nil {
			writeJSON(w, http.StatusUnauthorized, map[string]string{"code": "unauthenticated", "msg": "no token of a running job"})
			return
		}
		recordOf(r).Who = who.name
		do(w, r, who.job)
	}
}

func (s *Server) renewJob(w http.ResponseWriter, r *http.Request, j *job) {
	var asked planAndJob
	if !body(w, r, &asked) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.status != running || asked.Plan != j.planID || asked.Job != j.uuid {
		runError(w, http.StatusNotFound, "Job not found")
		return
	}
	j.lockedTill = s.now().Add(s.options.JobLock)
	writeJSON(w, http.StatusOK, map[string]any{"lockedUntil": j.lockedTill.UTC().Format("2006-01-02T15:04:05.000Z")})
}

// conclusions maps the words of runners to those of the REST API.
var conclusions = map[string]string{
	"succeeded": "success", "succeededwithissues": "success", "success": "success", "failed": "failure", "failure": "failure",
	"canceled": "cancelled", "cancelled": "cancelled", "skipped": "skipped", "abandoned": "failure",
}

func (s *Server) completeJob(w http.ResponseWriter, r *http.Request, j *job) {
	var asked completion
	if !body(w, r, &asked) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	conclusion, known := conclusions[strings.ToLower(asked.Conclusion)]
	switch {
	case j.status != running || asked.Plan != j.planID || asked.Job != j.uuid:
		runError(w, http.StatusNotFound, "Job not found")
		return
	case !known:
		runError(w, http.StatusUnprocessableEntity, "conclusion "+asked.Conclusion)
		return
	}
	for _, result := range asked.StepResults {
		j.tell(step{id: result.ID, number: result.Number, name: result.Name, status: result.Status, conclusion: conclusions[strings.ToLower(result.Conclusion)], started: result.StartedAt, completed: result.CompletedAt})
	}
	for _, annotation := range asked.Annotations {
		if strings.EqualFold(annotation.Level, "failure") {
			j.annotations = append(j.annotations, annotation.Message)
		}
	}
	s.finish(j, conclusion)
	w.WriteHeader(http.StatusOK)
}

func variable(value string, secret bool) map[string]any {
	return map[string]any{"value": value, "isSecret": secret}
}

// jobMessage returns the job as a runner gets it. The caller must hold s.mu.
func (s *Server) jobMessage(j *job) any {
	owner, _, _ := strings.Cut(j.spec.Repository, "/")
	token := s.issue("ghs_", &actor{name: "GITHUB_TOKEN of " + j.spec.Name, owner: owner, permissions: map[string]string{"metadata": "read", "actions": "read"}, integration: true}, 24*time.Hour)
	key := j.key()
	github := map[string]string{
		"repository": j.spec.Repository, "repository_owner": owner, "run_id": strconv.FormatInt(j.run, 10), "run_number": "1", "run_attempt": "1",
		"workflow": "stand-in", "job": key, "actor": "octocat", "triggering_actor": "octocat", "event_name": "workflow_dispatch",
		"sha": "0000000000000000000000000000000000000001", "ref": "refs/heads/main", "ref_name": "main", "ref_type": "branch",
		"server_url": s.URL, "api_url": s.URL + apiPrefix, "graphql_url": s.URL + "/api/graphql", "token": token,
	}
	steps := []any{}
	for i, each := range j.spec.Steps {
		inputs := map[string]string{"script": each.Run}
		for key, value := range map[string]string{"shell": each.Shell, "workingDirectory": each.WorkingDirectory} {
			if value != "" {
				inputs[key] = value
			}
		}
		if each.Uses != "" {
			inputs = each.With
		}
		made := map[string]any{
			"type": "action", "id": j.steps[i].id, "contextName": cmp.Or(each.ID, "__run_"+strconv.Itoa(i+1)), "condition": condition(each.If), "continueOnError": each.ContinueOnError,
			"reference": each.reference(), "displayNameToken": template(each.title()), "inputs": mapping(inputs), "environment": mapping(each.Env),
		}
		if each.TimeoutMinutes > 0 {
			made["timeoutInMinutes"] = each.TimeoutMinutes
		}
		steps = append(steps, made)
	}
	mask := []any{map[string]any{"type": "regex", "value": regexp.QuoteMeta(token)}}
	variables := map[string]any{
		"system.github.results_endpoint": variable(s.resultsURL(), false), "system.github.token": variable(token, true), "system.github.job": variable(key, false),
		"system.github.launch_endpoint": variable(s.RunnerURL+"/", false), "actions_uses_cache_service_v2": variable("true", false),
		"system.orchestrationId": variable(j.orchestration(), false), "github_token": variable(token, true),
	}
	for name, value := range j.spec.Secrets {
		variables[name] = variable(value, true)
		mask = append(mask, map[string]any{"type": "regex", "value": regexp.QuoteMeta(value)})
	}
	message := map[string]any{
		"messageType": "RunnerJobRequest", "jobId": j.uuid, "jobDisplayName": j.spec.Name, "jobName": j.spec.Name, "requestId": j.requestNumber,
		"plan":     map[string]any{"scopeIdentifier": j.planID, "planId": j.planID, "planType": "actions", "version": 12},
		"timeline": map[string]any{"id": j.timelineID, "changeId": 1},
		"mask":     mask,
		"resources": map[string]any{"endpoints": []any{map[string]any{
			"name": "SystemVssConnection", "url": s.runURL(), "isReady": true,
			"authorization": map[string]any{"scheme": "OAuth", "parameters": map[string]string{"AccessToken": j.token}},
			"data":          s.jobEndpoints(j),
		}}},
		"variables": variables,
		"contextData": map[string]any{
			"github": contextData(github), "vars": contextData(j.spec.Vars), "needs": contextData(map[string]any{}), "inputs": contextData(map[string]any{}),
			"matrix": contextData(j.spec.matrix()), "strategy": contextData(j.spec.strategy()),
		},
		"steps": steps, "fileTable": []string{".github/workflows/stand-in.yml"}, "environmentVariables": []any{mapping(j.spec.Env)},
		"billingOwnerId": "U_1",
	}
	if defaults := j.spec.Defaults.Run; defaults.Shell != "" || defaults.WorkingDirectory != "" {
		run := map[string]string{}
		for key, value := range map[string]string{"shell": defaults.Shell, "working-directory": defaults.WorkingDirectory} {
			if value != "" {
				run[key] = value
			}
		}
		message["defaults"] = []any{map[string]any{"type": 2, "map": []mapEntry{{"run", mapping(run)}}}}
	}
	if j.spec.Container.Image != "" {
		message["jobContainer"] = j.spec.Container.template()
	}
	if len(j.spec.Services) > 0 {
		services := []mapEntry{}
		for _, name := range slices.Sorted(maps.Keys(j.spec.Services)) {
			services = append(services, mapEntry{name, j.spec.Services[name].template()})
		}
		message["jobServiceContainers"] = map[string]any{"type": 2, "map": services}
	}
	return message
}

// reference returns the kind of a step: a script, or an action in the workspace or in another
// repository (Sdk/DTPipelines/Pipelines/RepositoryPathReference.cs).
func (s Step) reference() map[string]any {
	name, ref, elsewhere := strings.Cut(s.Uses, "@")
	switch {
	case s.Uses == "":
		return map[string]any{"type": "script"}
	case !elsewhere:
		return map[string]any{"type": "repository", "repositoryType": "self", "path": s.Uses}
	}
	repository, path := name, ""
	if parts := strings.SplitN(name, "/", 3); len(parts) == 3 {
		repository, path = parts[0]+"/"+parts[1], parts[2]
	}
	return map[string]any{"type": "repository", "repositoryType": "GitHub", "name": repository, "ref": ref, "path": path}
}

// template encodes the fields of a container that are set.
func (c Container) template() any {
	fields := []mapEntry{{"image", template(c.Image)}}
	if c.Options != "" {
		fields = append(fields, mapEntry{"options", template(c.Options)})
	}
	if len(c.Env) > 0 {
		fields = append(fields, mapEntry{"env", mapping(c.Env)})
	}
	if len(c.Ports) > 0 {
		fields = append(fields, mapEntry{"ports", sequence(c.Ports)})
	}
	if len(c.Volumes) > 0 {
		fields = append(fields, mapEntry{"volumes", sequence(c.Volumes)})
	}
	if c.Credentials != (Credentials{}) {
		fields = append(fields, mapEntry{"credentials", mapping(map[string]string{"username": c.Credentials.Username, "password": c.Credentials.Password})})
	}
	return map[string]any{"type": 2, "map": fields}
}

// matrix and strategy return the values of the contexts with these names.
func (j Job) matrix() any {
	if j.Matrix == nil {
		return nil
	}
	return j.Matrix
}

func (j Job) strategy() map[string]any {
	parallel := max(j.total, 1)
	failFast := true
	if j.Strategy != nil {
		failFast = j.Strategy.failFast()
		if j.Strategy.MaxParallel > 0 {
			parallel = j.Strategy.MaxParallel
		}
	}
	return map[string]any{"fail-fast": failFast, "job-index": j.index, "job-total": max(j.total, 1), "max-parallel": parallel}
}
