package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// given returns the contexts that come with the job: github, matrix, vars, …
func given(request *protocol.AgentJobRequestMessage) map[string]any {
	all := map[string]any{}
	for name, context := range request.ContextData {
		all[name] = context.ToRawObject()
	}
	secrets := map[string]any{}
	for name, variable := range request.Variables {
		if variable.IsSecret && !strings.HasPrefix(strings.ToLower(name), "system.") {
			secrets[name] = variable.Value
		}
	}
	all["secrets"] = secrets
	return all
}

// expressions returns an evaluator for the job's current state and a step's own environment.
func (w *worker) expressions(own map[string]string) expressions {
	contexts := maps.Clone(w.contexts)
	github := map[string]any{}
	if all, are := w.contexts["github"].(map[string]any); are {
		maps.Copy(github, all) // event and others are no texts
	}
	for name, value := range w.github {
		github[name] = w.inside(value)
	}
	runner := map[string]any{}
	for name, value := range w.runner {
		runner[strings.ToLower(strings.TrimPrefix(name, "RUNNER_"))] = w.inside(value)
	}
	env := map[string]any{}
	for _, values := range []map[string]string{w.jobEnv, own} {
		for name, value := range values {
			env[name] = value
		}
	}
	contexts["github"], contexts["runner"], contexts["env"] = github, runner, env
	contexts["steps"] = w.outcomes
	job := map[string]any{"status": map[string]string{succeeded: "success", failed: "failure", cancelled: "cancelled"}[w.result], "services": w.services}
	if w.container != nil {
		job["container"] = map[string]any{"id": w.container.id, "network": w.network}
	}
	contexts["job"] = job
	return expressions{contexts: contexts, status: w.result}
}

// inside returns a path as steps see it.
func (w *worker) inside(path string) string {
	if w.container == nil {
		return path
	}
	return w.container.inside(path)
}

// tools returns the folder of the tool cache, by the variables that GitHub's runner reads.
func tools(work string) string {
	for _, name := range []string{"RUNNER_TOOL_CACHE", "RUNNER_TOOLSDIRECTORY", "AGENT_TOOLSDIRECTORY"} {
		if folder := os.Getenv(name); folder != "" {
			return folder
		}
	}
	return filepath.Join(work, "_tool")
}
