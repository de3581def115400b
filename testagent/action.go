package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// action is an action.yml, as far as this agent knows it: composite actions and actions of
// node.
type action struct {
	Name   string `yaml:"name"`
	Inputs map[string]struct {
		Default  string `yaml:"default"`
		Required bool   `yaml:"required"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Value string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Using string       `yaml:"using"`
		Main  string       `yaml:"main"`
		Steps []actionStep `yaml:"steps"`
	} `yaml:"runs"`
}

// actionStep is a step of a composite action.
type actionStep struct {
	ID               string            `yaml:"id"`
	Name             string            `yaml:"name"`
	If               string            `yaml:"if"`
	Run              string            `yaml:"run"`
	Shell            string            `yaml:"shell"`
	WorkingDirectory string            `yaml:"working-directory"`
	Uses             string            `yaml:"uses"`
	With             map[string]string `yaml:"with"`
	Env              map[string]string `yaml:"env"`
	ContinueOnError  bool              `yaml:"continue-on-error"`
}

// local returns the function that runs an action of the workspace as a step of the job.
func (w *worker) local(given *protocol.ActionStep) func(context.Context, *workerStep) error {
	return func(ctx context.Context, step *workerStep) error {
		env, err := w.environmentOf(step)
		if err != nil {
			return err
		}
		with, err := w.expressions(env).texts(given.Inputs)
		if err != nil {
			return err
		}
		return w.act(ctx, step, given.Reference.Path, env, with)
	}
}

// act runs the action in a folder of the workspace. step gets its outputs.
func (w *worker) act(ctx context.Context, step *workerStep, path string, env, with map[string]string) error {
	if !strings.HasPrefix(path, "./") {
		return fmt.Errorf("the action %s is not in the workspace", path)
	}
	folder := filepath.Join(w.workspace, path)
	definition, err := readAction(folder)
	if err != nil {
		return err
	}
	inputs, err := definition.inputs(w.expressions(env), with)
	if err != nil {
		return err
	}
	w.log.line("##[group]Run " + path)
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		w.log.line("  " + name + ": " + textOf(inputs[name]))
	}
	w.log.line("##[endgroup]")
	outer, nested := w.github["action_path"]
	w.github["action_path"] = folder
	defer func() {
		if delete(w.github, "action_path"); nested {
			w.github["action_path"] = outer
		}
	}()
	switch using := definition.Runs.Using; {
	case using == "composite":
		return w.composite(ctx, step, definition, env, inputs)
	case strings.HasPrefix(using, "node"):
		return w.node(ctx, filepath.Join(folder, definition.Runs.Main), env, inputs)
	default:
		return fmt.Errorf("%s: an action using %q is not known to this agent", path, using)
	}
}

func readAction(folder string) (*action, error) {
	for _, name := range []string{"action.yml", "action.yaml"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var read action
		if err := yaml.Unmarshal(text, &read); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &read, nil
	}
	return nil, fmt.Errorf("Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '%s'. Did you forget to run actions/checkout before running your local action?", folder) //nolint:staticcheck,revive // GitHub's words
}

// inputs returns the given inputs, and the defaults of the others.
func (a *action) inputs(now expressions, with map[string]string) (map[string]any, error) {
	inputs := map[string]any{}
	for name, value := range with {
		inputs[name] = value
	}
	for name, one := range a.Inputs {
		if _, given := member(inputs, name); given {
			continue
		}
		value, err := now.text(one.Default)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", name, err)
		}
		inputs[name] = value
	}
	return inputs, nil
}

// composite runs the steps of an action. They can't see the job's steps.
func (w *worker) composite(ctx context.Context, step *workerStep, definition *action, env map[string]string, inputs map[string]any) error {
	outcomes, outer, result := w.outcomes, w.contexts["inputs"], w.result
	w.outcomes, w.contexts["inputs"] = map[string]any{}, inputs
	defer func() { w.outcomes, w.contexts["inputs"], w.result, w.current = outcomes, outer, result, step }()
	var failed error
	for i := range definition.Runs.Steps {
		one := &definition.Runs.Steps[i]
		now := w.expressions(env)
		condition := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(one.If), "${{"), "}}")
		wanted, err := now.holds(withStatus(condition))
		inner := &workerStep{id: one.ID}
		if err == nil && !wanted {
			w.note(inner, skipped, skipped)
			continue
		}
		if err == nil {
			w.current = inner
			err = w.innerStep(ctx, inner, one, env)
		}
		outcome, conclusion := succeeded, succeeded
		if err != nil {
			outcome = failedWord(ctx)
			if conclusion = outcome; one.ContinueOnError && ctx.Err() == nil {
				conclusion = succeeded
			}
			w.log.line("##[error]" + err.Error())
		}
		w.note(inner, outcome, conclusion)
		if conclusion != succeeded && failed == nil {
			failed, w.result = err, conclusion
		}
	}
	step.outputs = map[string]any{}
	for name, one := range definition.Outputs {
		value, err := w.expressions(env).text(one.Value)
		if err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		step.outputs[name] = value
	}
	return failed
}

func failedWord(ctx context.Context) string {
	if ctx.Err() != nil {
		return cancelled
	}
	return failed
}

// withStatus adds success() to a condition that does not ask for a status itself.
func withStatus(condition string) string {
	for _, word := range []string{"success(", "failure(", "always(", "cancelled("} {
		if strings.Contains(condition, word) {
			return condition
		}
	}
	if strings.TrimSpace(condition) == "" {
		return "success()"
	}
	return "success() && (" + condition + ")"
}

func (w *worker) innerStep(ctx context.Context, inner *workerStep, one *actionStep, outer map[string]string) error {
	now := w.expressions(outer)
	evaluated := func(texts map[string]string) (map[string]string, error) {
		all := map[string]string{}
		for name, text := range texts {
			value, err := now.text(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all[name] = value
		}
		return all, nil
	}
	own, err := evaluated(one.Env)
	if err != nil {
		return err
	}
	env := maps.Clone(outer)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, own)
	now = w.expressions(env)
	if one.Uses != "" {
		with, err := evaluated(one.With)
		if err != nil {
			return err
		}
		return w.act(ctx, inner, one.Uses, env, with)
	}
	if one.Shell == "" {
		return errors.New("Required property is missing: shell") //nolint:staticcheck // GitHub's words
	}
	texts, err := evaluated(map[string]string{"run": one.Run, "shell": one.Shell, "folder": one.WorkingDirectory})
	if err != nil {
		return err
	}
	return w.runScript(ctx, texts["shell"], texts["run"], texts["folder"], env)
}

// node runs a JavaScript action with the node of the agent's externals, or else with the
// machine's. Only such actions, and not scripts, get the token and the addresses of the job's
// services.
func (w *worker) node(ctx context.Context, main string, env map[string]string, inputs map[string]any) error {
	program := ""
	for _, version := range []string{"node24", "node20"} {
		if path := filepath.Join(filepath.Dir(w.work), "externals", version, "bin", "node"); program == "" {
			if _, err := os.Stat(path); err == nil {
				program = path
			}
		}
	}
	if program == "" {
		path, err := exec.LookPath("node")
		if err != nil {
			return errors.New("node was not found, neither in the agent's externals nor in the machine")
		}
		program = path
	}
	if w.container != nil {
		return errors.New("actions of JavaScript in containers are not known to this agent")
	}
	own := maps.Clone(env)
	if own == nil {
		own = map[string]string{}
	}
	for name, value := range inputs {
		own["INPUT_"+strings.ReplaceAll(strings.ToUpper(name), " ", "_")] = textOf(value)
	}
	maps.Copy(own, w.serviceVariables())
	return w.execute(ctx, onHost, []string{program, main}, w.workspace, own)
}

// serviceVariables returns the addresses and the token with which an action calls GitHub
// (Runner.Worker/Handlers/NodeScriptActionHandler.cs:56-90).
func (w *worker) serviceVariables() map[string]string {
	connection, data, err := w.request.GetConnection("SystemVssConnection")
	if err != nil {
		return nil
	}
	all := map[string]string{
		"ACTIONS_RUNTIME_URL": data["PipelinesServiceUrl"], "ACTIONS_RUNTIME_TOKEN": connection.Token, "ACTIONS_CACHE_URL": data["CacheServerUrl"],
		"ACTIONS_RESULTS_URL": data["ResultsServiceUrl"], "ACTIONS_ORCHESTRATION_ID": w.request.Variables["system.orchestrationId"].Value,
	}
	if address := data["GenerateIdTokenUrl"]; address != "" {
		all["ACTIONS_ID_TOKEN_REQUEST_URL"], all["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = address, connection.Token
	}
	if w.request.Variables["actions_uses_cache_service_v2"].Value == "true" {
		all["ACTIONS_CACHE_SERVICE_V2"] = "True"
	}
	return all
}

// text evaluates the expressions in a text. A string within an expression may hold }}.
func (e expressions) text(text string) (string, error) {
	var all strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${{")
		all.WriteString(before)
		if !found {
			return all.String(), nil
		}
		end, quoted := -1, false
		for i := range len(rest) - 1 {
			if rest[i] == '\'' {
				quoted = !quoted
			}
			if !quoted && rest[i:i+2] == "}}" {
				end = i
				break
			}
		}
		if end < 0 {
			return "", fmt.Errorf("an expression is not closed: %s", text)
		}
		value, err := e.evaluate(strings.TrimSpace(rest[:end]))
		if err != nil {
			return "", err
		}
		all.WriteString(textOf(value))
		text = rest[end+2:]
	}
}

// resolve asks GitHub where actions of other repositories are. The stand-in has none.
func (w *worker) resolve(ctx context.Context) error {
	var all []map[string]string
	for i := range w.request.Steps {
		if reference := w.request.Steps[i].Reference; strings.EqualFold(reference.Type, "repository") && !strings.EqualFold(reference.RepositoryType, "self") {
			all = append(all, map[string]string{"action": reference.Name, "version": reference.Ref, "path": reference.Path})
		}
	}
	if len(all) == 0 {
		return nil
	}
	address := fmt.Sprintf("%s/actions/build/%s/jobs/%s/runnerresolve/actions", strings.TrimSuffix(w.request.Variables["system.github.launch_endpoint"].Value, "/"), w.request.Plan.PlanID, w.request.JobID)
	body, err := json.Marshal(map[string]any{"actions": all})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+w.connection.Token)
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := w.connection.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return errors.New("actions of other repositories are not known to this agent")
	}
	var answer struct {
		Errors map[string]struct{ Message string }
	}
	_ = json.NewDecoder(response.Body).Decode(&answer) // it may be no JSON
	messages := []string{response.Status}
	for _, name := range slices.Sorted(maps.Keys(answer.Errors)) {
		messages = append(messages, answer.Errors[name].Message)
	}
	return errors.New(strings.Join(messages, ". "))
}
