package ghsim

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// runError is a refusal of the run service, in the words that actions/runner reads.
func runError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"source": "actions-run-service", "statusCode": status, "errorMessage": message})
}

// acquireJob gives the whole job to the runner that it was assigned to.
func (s *Server) acquireJob(w http.ResponseWriter, r *http.Request, by *runner) {
	var asked struct {
		Message string `json:"jobMessageId"`
	}
	if !decode(w, r, &asked) {
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
	j.token = s.issue("job.", &actor{name: "job " + j.spec.Name, job: j}, 0)
	s.announce()
	writeJSON(w, http.StatusOK, s.jobMessage(j))
}

// asJob lets only a running job's own token through.
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

type planAndJob struct {
	Plan string `json:"planId"`
	Job  string `json:"jobId"`
}

func (s *Server) renewJob(w http.ResponseWriter, r *http.Request, j *job) {
	var asked planAndJob
	if !decode(w, r, &asked) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.status != running || asked.Plan != j.planID || asked.Job != j.uuid {
		runError(w, http.StatusNotFound, "Job not found")
		return
	}
	j.lockedTill = s.now().Add(s.options.JobLock)
	writeJSON(w, http.StatusOK, map[string]any{"lockedUntil": j.lockedTill.UTC().Format(time.RFC3339Nano)})
}

// conclusions as runners write them, and as REST does.
var conclusions = map[string]string{
	"succeeded": "success", "succeededwithissues": "success", "success": "success", "failed": "failure", "failure": "failure",
	"canceled": "cancelled", "cancelled": "cancelled", "skipped": "skipped", "abandoned": "failure",
}

func (s *Server) completeJob(w http.ResponseWriter, r *http.Request, j *job) {
	var asked struct {
		planAndJob
		Conclusion  string `json:"conclusion"`
		StepResults []struct {
			ID          string `json:"external_id"`
			Number      int    `json:"number"`
			Name        string `json:"name"`
			Status      string `json:"status"`
			Conclusion  string `json:"conclusion"`
			StartedAt   string `json:"started_at"`
			CompletedAt string `json:"completed_at"`
		} `json:"stepResults"`
		Annotations []struct {
			Level   string `json:"level"`
			Message string `json:"message"`
		} `json:"annotations"`
	}
	if !decode(w, r, &asked) {
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
	for _, told := range asked.StepResults {
		j.tell(step{id: told.ID, number: told.Number, name: told.Name, status: told.Status, conclusion: conclusions[strings.ToLower(told.Conclusion)], started: told.StartedAt, completed: told.CompletedAt})
	}
	for _, annotation := range asked.Annotations {
		if strings.EqualFold(annotation.Level, "failure") {
			j.annotations = append(j.annotations, annotation.Message)
		}
	}
	s.finish(j, conclusion)
	w.WriteHeader(http.StatusOK)
}

// literal, mapping: values in the runner's template language.
type mapEntry struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func mapping(values map[string]string) map[string]any {
	entries := []mapEntry{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		entries = append(entries, mapEntry{key, values[key]})
	}
	return map[string]any{"type": 2, "map": entries}
}

func variable(value string, secret bool) map[string]any {
	return map[string]any{"value": value, "isSecret": secret}
}

// jobMessage is the job as a runner gets it; it needs the lock.
func (s *Server) jobMessage(j *job) any {
	owner, _, _ := strings.Cut(j.spec.Repository, "/")
	token := s.issue("ghs_", &actor{name: "GITHUB_TOKEN of " + j.spec.Name, owner: owner, permissions: map[string]string{"metadata": "read", "actions": "read"}, integration: true}, 24*time.Hour)
	context := []map[string]any{}
	for _, pair := range [][2]string{
		{"repository", j.spec.Repository}, {"repository_owner", owner}, {"run_id", strconv.FormatInt(j.run, 10)}, {"run_number", "1"}, {"run_attempt", "1"},
		{"workflow", "stand-in"}, {"job", j.spec.Name}, {"actor", "octocat"}, {"triggering_actor", "octocat"}, {"event_name", "workflow_dispatch"},
		{"sha", "0000000000000000000000000000000000000001"}, {"ref", "refs/heads/main"}, {"ref_name", "main"}, {"ref_type", "branch"},
		{"server_url", s.URL}, {"api_url", s.URL + apiPrefix}, {"graphql_url", s.URL + "/api/graphql"}, {"token", token},
	} {
		context = append(context, map[string]any{"k": pair[0], "v": pair[1]})
	}
	steps := []any{}
	for i, each := range j.spec.Steps {
		inputs := map[string]string{"script": each.Run}
		for key, value := range map[string]string{"shell": each.Shell, "workingDirectory": each.WorkingDirectory} {
			if value != "" {
				inputs[key] = value
			}
		}
		condition := each.If
		if condition == "" {
			condition = "success()"
		}
		steps = append(steps, map[string]any{
			"type": "action", "id": j.steps[i].id, "contextName": "__run_" + strconv.Itoa(i+1), "condition": condition, "continueOnError": each.ContinueOnError,
			"reference": map[string]any{"type": "script"}, "displayNameToken": each.title(), "inputs": mapping(inputs), "environment": mapping(each.Env),
		})
	}
	message := map[string]any{
		"messageType": "RunnerJobRequest", "jobId": j.uuid, "jobDisplayName": j.spec.Name, "jobName": j.spec.Name, "requestId": j.requestNumber,
		"plan":     map[string]any{"scopeIdentifier": j.planID, "planId": j.planID, "planType": "actions", "version": 12},
		"timeline": map[string]any{"id": j.timelineID, "changeId": 1},
		"mask":     []any{map[string]any{"type": "regex", "value": regexp.QuoteMeta(token)}},
		"resources": map[string]any{"endpoints": []any{map[string]any{
			"name": "SystemVssConnection", "url": s.runURL(), "isReady": true,
			"authorization": map[string]any{"scheme": "OAuth", "parameters": map[string]string{"AccessToken": j.token}},
			"data":          map[string]string{"FeedStreamUrl": s.RunnerURL + "/feed", "ResultsServiceUrl": s.resultsURL(), "PipelinesServiceUrl": s.RunnerURL + "/", "CacheServerUrl": s.RunnerURL + "/"},
		}}},
		"variables": map[string]any{
			"system.github.results_endpoint": variable(s.resultsURL(), false), "system.github.token": variable(token, true), "system.github.job": variable(j.spec.Name, false),
			"system.orchestrationId": variable(j.planID+"."+j.spec.Name, false),
		},
		"contextData": map[string]any{"github": map[string]any{"t": 2, "d": context}},
		"steps":       steps, "fileTable": []string{".github/workflows/stand-in.yml"}, "environmentVariables": []any{mapping(j.spec.Env)},
		"billingOwnerId": "U_1",
	}
	if image := j.spec.Container.Image; image != "" {
		fields := []mapEntry{{"image", image}}
		if j.spec.Container.Options != "" {
			fields = append(fields, mapEntry{"options", j.spec.Container.Options})
		}
		if len(j.spec.Container.Env) > 0 {
			fields = append(fields, mapEntry{"env", mapping(j.spec.Container.Env)})
		}
		if len(j.spec.Container.Volumes) > 0 {
			fields = append(fields, mapEntry{"volumes", map[string]any{"type": 1, "seq": j.spec.Container.Volumes}})
		}
		message["jobContainer"] = map[string]any{"type": 2, "map": fields}
	}
	return message
}
