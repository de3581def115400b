package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// madeContainer is the container that the steps of a job run in, or a service. It is made with
// the docker command, as in GitHub's runner.
type madeContainer struct {
	id, alias, image string   // the job's container has no alias
	failed           bool     // its log has been printed
	path             string   // PATH of its image
	folders          []folder // only of the job's container
}

// folder is a folder of the host and its path in the container.
type folder struct{ outside, inside string }

// containerSpec is a container as the workflow describes it.
type containerSpec struct {
	image, options, username, password string
	env                                map[string]string
	ports, volumes                     []string
}

// startContainers makes the network, the job's container and its services, and waits
// until the services are healthy.
func (w *worker) startContainers(ctx context.Context, _ *workerStep) error {
	if err := w.clearOld(ctx); err != nil {
		return err
	}
	w.network = "github_network_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if err := w.docker(ctx, "network", "create", "--label", w.label(), w.network); err != nil {
		return fmt.Errorf("Docker network create failed: %w", err) //nolint:staticcheck // GitHub's words
	}
	if w.request.JobContainer != nil {
		value, err := w.expressions(nil).token(w.request.JobContainer)
		if err != nil {
			return err
		}
		spec, err := readContainer(value)
		if err != nil {
			return fmt.Errorf("container: %w", err)
		}
		made := &madeContainer{image: spec.image, folders: []folder{
			{filepath.Join(w.temp, "_github_home"), "/github/home"}, {filepath.Join(w.temp, "_github_workflow"), "/github/workflow"},
			{w.work, "/__w"}, {filepath.Join(filepath.Dir(w.work), "externals"), "/__e"},
		}}
		if cache := tools(w.work); made.inside(cache) == cache { // not below a folder that is mounted already
			made.folders = append(made.folders, folder{cache, "/__t"})
		}
		if err := w.start(ctx, made, spec); err != nil {
			return err
		}
		w.container = made
	}
	if w.request.JobServiceContainers != nil && w.request.JobServiceContainers.Map != nil {
		for _, entry := range *w.request.JobServiceContainers.Map {
			value, err := w.expressions(nil).token(entry.Value)
			if err != nil {
				return err
			}
			spec, err := readContainer(value)
			if err != nil {
				return fmt.Errorf("service %s: %w", *entry.Key.Lit, err)
			}
			if spec.image == "" { // an expression may leave a service out
				w.log.line(fmt.Sprintf("The service '%s' will not be started because the container definition has an empty image.", *entry.Key.Lit))
				continue
			}
			if err := w.start(ctx, &madeContainer{alias: *entry.Key.Lit, image: spec.image}, spec); err != nil {
				return err
			}
		}
	}
	return w.healthy(ctx)
}

// clearOld removes containers and networks that an earlier job of this runner left behind.
func (w *worker) clearOld(ctx context.Context) error {
	w.log.line("##[group]Clean up resources from previous jobs")
	defer w.log.line("##[endgroup]")
	left, err := w.dockerOutput(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+w.label())
	if err != nil {
		return err
	}
	for _, id := range strings.Fields(left) {
		if err := w.docker(ctx, "rm", "--force", id); err != nil {
			return err
		}
	}
	return w.docker(ctx, "network", "prune", "--force", "--filter", "label="+w.label())
}

// start pulls, makes and starts a container.
func (w *worker) start(ctx context.Context, made *madeContainer, spec containerSpec) error {
	title := "Starting job container"
	if made.alias != "" {
		title = "Starting " + made.alias + " service container"
	}
	w.log.line("##[group]" + title)
	defer w.log.line("##[endgroup]")
	if err := w.pull(ctx, spec); err != nil {
		return err
	}
	output, err := w.dockerOutput(ctx, w.createArguments(made, spec)...)
	if err != nil {
		return fmt.Errorf("Docker create failed: %w", err) //nolint:staticcheck // GitHub's words
	}
	made.id = strings.TrimSpace(output)
	w.made = append(w.made, made) // from here on the container must be removed
	if err := w.docker(ctx, "start", made.id); err != nil {
		return fmt.Errorf("Docker start failed: %w", err) //nolint:staticcheck // GitHub's words
	}
	state, err := w.dockerOutput(ctx, "ps", "--all", "--filter", "id="+made.id, "--filter", "status=running", "--no-trunc", "--format", "{{.ID}} {{.Status}}")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(state, made.id) {
		_ = w.docker(ctx, "logs", "--details", made.id) // the warning below matters more
		w.log.line("##[warning]Docker container " + made.id + " is not in running state.")
	}
	if made.alias == "" {
		path, err := w.dockerOutput(ctx, "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", made.id)
		for line := range strings.Lines(path) {
			if value, is := strings.CutPrefix(strings.TrimSpace(line), "PATH="); is {
				made.path = value
			}
		}
		return err
	}
	ports, err := w.dockerOutput(ctx, "port", made.id)
	w.services[made.alias] = map[string]any{"id": made.id, "network": w.network, "ports": publishedPorts(ports)}
	return err
}

// pull pulls an image, with its registry's credentials in a folder of their own. GitHub's
// runner pulls always. This agent uses an image that exists locally, because there may be no
// registry.
func (w *worker) pull(ctx context.Context, spec containerSpec) error {
	if exec.CommandContext(ctx, "docker", "image", "inspect", spec.image).Run() == nil {
		return nil
	}
	var config []string
	if spec.username != "" && spec.password != "" {
		folder := filepath.Join(w.temp, ".docker_"+uuid.NewString())
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }() // the folder is emptied before the next job
		config = []string{"--config", folder}
		if err := w.login(ctx, folder, spec); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		err := w.docker(ctx, append(slices.Clone(config), "pull", spec.image)...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if attempt == 3 {
			return fmt.Errorf("Docker pull failed: %w", err) //nolint:staticcheck // GitHub's words
		}
		w.log.line("##[warning]Docker pull failed, back off before retry.")
		pause(ctx, time.Duration(attempt)*time.Second)
	}
}

// login passes the password on standard input.
func (w *worker) login(ctx context.Context, folder string, spec containerSpec) error {
	args := []string{"--config", folder, "login", registryOf(spec.image), "-u", spec.username, "--password-stdin"}
	w.log.line("##[command]docker " + strings.Join(args, " "))
	command := exec.CommandContext(ctx, "docker", args...) //nolint:gosec // as GitHub's runner does
	command.Stdin = strings.NewReader(spec.password)
	if output, err := command.CombinedOutput(); err != nil {
		w.log.line(string(output))
		return fmt.Errorf("Docker login for '%s' failed: %w", registryOf(spec.image), err) //nolint:staticcheck // GitHub's words
	}
	return nil
}

// registryOf returns the registry of an image; "" for Docker Hub.
func registryOf(image string) string {
	parts := strings.Split(image, "/")
	if len(parts) > 2 || len(parts) == 2 && strings.ContainsAny(parts[0], ".:") {
		return parts[0]
	}
	return ""
}

func (w *worker) createArguments(made *madeContainer, spec containerSpec) []string {
	args := []string{"create", "--name", strings.ReplaceAll(uuid.NewString(), "-", ""), "--label", w.label()}
	if made.alias == "" {
		args = append(args, "--workdir", made.inside(w.workspace))
	}
	args = append(args, "--network", w.network)
	if made.alias != "" {
		args = append(args, "--network-alias", made.alias)
	}
	for _, port := range spec.ports {
		args = append(args, "-p", port)
	}
	args = append(args, arguments(spec.options)...)
	env, volumes := maps.Clone(spec.env), spec.volumes
	if made.alias == "" {
		env["HOME"] = "/github/home"
		volumes = append([]string{"/var/run/docker.sock:/var/run/docker.sock"}, volumes...)
		for _, each := range made.folders {
			volume := each.outside + ":" + each.inside
			if each.inside == "/__e" {
				volume += ":ro"
			}
			volumes = append(volumes, volume)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "-e", name+"="+env[name])
	}
	args = append(args, "-e", "GITHUB_ACTIONS=true")
	if _, set := env["CI"]; !set {
		args = append(args, "-e", "CI=true")
	}
	for _, volume := range volumes {
		args = append(args, "-v", volume)
	}
	if made.alias != "" {
		return append(args, spec.image)
	}
	return append(args, "--entrypoint", "tail", spec.image, "-f", "/dev/null")
}

// arguments splits options as .NET does: at spaces outside double quotes.
func arguments(options string) (all []string) {
	var one strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(options); i++ {
		switch c := options[i]; {
		case c == '\\' && strings.HasPrefix(options[i+1:], `"`):
			one.WriteByte('"')
			i, begun = i+1, true
		case c == '"':
			quoted, begun = !quoted, true
		case !quoted && strings.ContainsRune(" \t\r\n", rune(c)):
			if begun {
				all = append(all, one.String())
			}
			one.Reset()
			begun = false
		default:
			one.WriteByte(c)
			begun = true
		}
	}
	if begun {
		all = append(all, one.String())
	}
	return all
}

var portLine = regexp.MustCompile(`(?m)^(\d+)/\w+ -> .+:(\d+)$`)

// publishedPorts parses the output of docker port: the machine's ports by the container's.
func publishedPorts(text string) map[string]any {
	ports := map[string]any{}
	for _, found := range portLine.FindAllStringSubmatch(text, -1) {
		ports[found[1]] = found[2]
	}
	return ports
}

// healthy waits for the services that have a health check. As in GitHub's runner there is no
// time limit: it waits 2 s, then longer, up to 32 s.
func (w *worker) healthy(ctx context.Context) error {
	w.log.line("##[group]Waiting for all services to be ready")
	var sick []*madeContainer
	for _, each := range w.made {
		if each.alias == "" {
			continue
		}
		health, err := w.health(ctx, each)
		for wait := 2 * time.Second; err == nil && health == "starting"; wait = min(2*wait, 32*time.Second) {
			w.log.line(fmt.Sprintf("%s service is starting, waiting %d seconds before checking again.", each.alias, int(wait.Seconds())))
			if !pause(ctx, wait) {
				return ctx.Err()
			}
			health, err = w.health(ctx, each)
		}
		if err != nil {
			return err
		}
		if health == "" || health == "healthy" {
			w.log.line(each.alias + " service is healthy.")
			continue
		}
		sick = append(sick, each)
	}
	w.log.line("##[endgroup]")
	for _, each := range sick {
		w.log.line("##[group]Service container " + each.alias + " failed.")
		_ = w.docker(ctx, "logs", "--details", each.id) // the error below matters more
		w.log.line("##[error]Failed to initialize container " + each.image)
		w.log.line("##[endgroup]")
		each.failed = true
	}
	if len(sick) > 0 {
		return errors.New("One or more containers failed to start.") //nolint:staticcheck,revive // GitHub's words
	}
	return nil
}

// health returns the state of a container's health check; "" if it has none.
func (w *worker) health(ctx context.Context, of *madeContainer) (string, error) {
	output, err := w.dockerOutput(ctx, "inspect", "--format", "{{if .Config.Healthcheck}}{{print .State.Health.Status}}{{end}}", of.id)
	return strings.TrimSpace(output), err
}

// stopContainers prints the logs of services, and removes all containers and the network.
func (w *worker) stopContainers(ctx context.Context, _ *workerStep) error {
	made, network := w.made, w.network
	w.made, w.container, w.network = nil, nil, "" // hooks run on the host
	for _, each := range made {
		if each.alias != "" && !each.failed {
			w.log.line("Print service container logs: " + each.alias)
			_ = w.docker(ctx, "logs", "--details", each.id) // the job is over
		}
		w.log.line("Stop and remove container: " + each.image)
		if err := w.docker(ctx, "rm", "--force", each.id); err != nil {
			w.log.line("##[warning]Docker rm fail: " + err.Error())
		}
	}
	if network == "" {
		return nil
	}
	w.log.line("Remove container network: " + network)
	if err := w.docker(ctx, "network", "rm", network); err != nil {
		w.log.line("##[warning]Docker network rm failed: " + err.Error())
	}
	return nil
}

// label marks everything that this runner makes.
func (w *worker) label() string { return "dev.runnerctl.testagent=" + w.runner["RUNNER_NAME"] }

func (w *worker) docker(ctx context.Context, args ...string) error {
	w.log.line("##[command]docker " + strings.Join(args, " "))
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return w.command(ctx, append([]string{"docker"}, args...), w.work, env)
}

// dockerOutput returns the output of the command.
func (w *worker) dockerOutput(ctx context.Context, args ...string) (string, error) {
	w.log.line("##[command]docker " + strings.Join(args, " "))
	var output, problems bytes.Buffer
	command := exec.CommandContext(ctx, "docker", args...) //nolint:gosec // as GitHub's runner does
	command.Dir, command.Stdout, command.Stderr = w.work, &output, &problems
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(problems.String()))
	}
	if output.Len() > 0 {
		w.log.line(output.String())
	}
	return output.String(), nil
}

// inside translates a path of the host to one in the container.
func (c *madeContainer) inside(path string) string {
	for _, each := range c.folders {
		if path == each.outside || strings.HasPrefix(path, each.outside+"/") {
			return each.inside + strings.TrimPrefix(path, each.outside)
		}
	}
	return path
}

// exec wraps a step's command in docker exec. Variables get their values from the command's
// environment, because every user can read arguments.
func (c *madeContainer) exec(args []string, folder string, env map[string]string, prepended []string) ([]string, map[string]string) {
	command := []string{"docker", "exec", "-i", "--workdir", c.inside(folder)}
	own := map[string]string{"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME")}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "PATH" || name == "HOME" {
			continue
		}
		command = append(command, "-e", name)
		own[name] = c.inside(env[name])
	}
	if len(prepended) > 0 {
		command = append(command, "-e", "PATH="+strings.Join(append(slices.Clone(prepended), c.path), ":"))
	}
	command = append(command, c.id)
	for _, arg := range args {
		command = append(command, c.inside(arg))
	}
	return command, own
}

// readContainer also accepts just the name of an image.
func readContainer(value any) (containerSpec, error) {
	spec := containerSpec{env: map[string]string{}}
	if image, is := value.(string); is {
		spec.image = image
		return spec, nil
	}
	fields, _ := value.(map[string]any)
	for name, field := range fields {
		switch name {
		case "image":
			spec.image = textOf(field)
		case "options":
			spec.options = textOf(field)
		case "env":
			values, _ := field.(map[string]any)
			for key, each := range values {
				spec.env[key] = textOf(each)
			}
		case "ports":
			spec.ports = textsOf(field)
		case "volumes":
			spec.volumes = textsOf(field)
		case "credentials":
			spec.username, spec.password = textOf(index(field, "username")), textOf(index(field, "password"))
		default:
			return spec, fmt.Errorf("%s is not known to this agent", name)
		}
	}
	return spec, nil
}

func textsOf(value any) (all []string) {
	for _, each := range members(value) {
		all = append(all, textOf(each))
	}
	return all
}

// wantsContainers reports whether there are containers to start.
func wantsContainers(request *protocol.AgentJobRequestMessage) bool {
	return request.JobContainer != nil || request.JobServiceContainers != nil
}
