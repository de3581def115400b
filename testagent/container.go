package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// jobContainer is the one that the steps of a job run in, made by the docker
// command as GitHub's runner makes it.
type jobContainer struct {
	id, network string
	work        string // on the host; /__w inside
}

// startContainer makes the network and the container of the job.
func (w *worker) startContainer(ctx context.Context, _ *workerStep) error {
	spec, err := readContainer(w.request.JobContainer)
	if err != nil {
		return err
	}
	made := &jobContainer{network: "github_network_" + strings.ReplaceAll(uuid.NewString(), "-", ""), work: w.work}
	if err := w.docker(ctx, "network", "create", "--label", w.label(), made.network); err != nil {
		return fmt.Errorf("Docker network create failed: %w", err) //nolint:staticcheck // GitHub's words
	}
	w.container = made // from here on there is something to remove
	// GitHub's runner pulls always. Where there is no registry, an image that is there will do.
	if exec.CommandContext(ctx, "docker", "image", "inspect", spec.image).Run() != nil {
		if err := w.docker(ctx, "pull", spec.image); err != nil {
			return fmt.Errorf("Docker pull failed: %w", err) //nolint:staticcheck // GitHub's words
		}
	}
	args := []string{"create", "--name", strings.ReplaceAll(uuid.NewString(), "-", ""), "--label", w.label(), "--workdir", made.inside(w.workspace), "--network", made.network}
	args = append(args, strings.Fields(spec.options)...)
	env := maps.Clone(spec.env)
	env["HOME"] = "/github/home"
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "-e", name+"="+env[name])
	}
	args = append(args, "-e", "GITHUB_ACTIONS=true", "-e", "CI=true")
	externals := filepath.Join(filepath.Dir(w.work), "externals")
	if err := os.MkdirAll(externals, 0o755); err != nil {
		return err
	}
	volumes := append([]string{"/var/run/docker.sock:/var/run/docker.sock"}, spec.volumes...)
	volumes = append(volumes, w.work+":/__w", externals+":/__e:ro", w.temp+":/__w/_temp", filepath.Join(w.work, "_actions")+":/__w/_actions",
		filepath.Join(w.work, "_tool")+":/__w/_tool", filepath.Join(w.temp, "_github_home")+":/github/home", filepath.Join(w.temp, "_github_workflow")+":/github/workflow")
	for _, volume := range volumes {
		args = append(args, "-v", volume)
	}
	args = append(args, "--entrypoint", "tail", spec.image, "-f", "/dev/null")
	w.log.line("##[command]docker " + strings.Join(args, " "))
	var output, problems bytes.Buffer
	create := exec.CommandContext(ctx, "docker", args...) //nolint:gosec // as GitHub's runner does
	create.Stdout, create.Stderr = &output, &problems
	if err := create.Run(); err != nil {
		return fmt.Errorf("Docker create failed: %w: %s", err, strings.TrimSpace(problems.String())) //nolint:staticcheck // GitHub's words
	}
	made.id = strings.TrimSpace(output.String())
	if err := w.docker(ctx, "start", made.id); err != nil {
		return fmt.Errorf("Docker start failed: %w", err) //nolint:staticcheck // GitHub's words
	}
	return nil
}

func (w *worker) stopContainer(ctx context.Context, _ *workerStep) error {
	made := w.container
	if made == nil {
		return nil
	}
	w.container = nil // hooks are the host's
	if made.id != "" {
		if err := w.docker(ctx, "rm", "--force", made.id); err != nil {
			return err
		}
	}
	return w.docker(ctx, "network", "rm", made.network)
}

// label marks what this runner makes.
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

// inside translates a path of the host.
func (c *jobContainer) inside(path string) string {
	if path == c.work || strings.HasPrefix(path, c.work+"/") {
		return "/__w" + strings.TrimPrefix(path, c.work)
	}
	return path
}

// exec is a step's command as docker exec. Values are no arguments, which
// everybody may read: they go by the command's own environment.
func (c *jobContainer) exec(args []string, folder string, env map[string]string) ([]string, map[string]string) {
	command := []string{"docker", "exec", "-i", "--workdir", c.inside(folder)}
	own := map[string]string{"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME")}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "PATH" || name == "HOME" {
			continue
		}
		command = append(command, "-e", name)
		own[name] = c.inside(env[name])
	}
	command = append(command, c.id)
	for _, arg := range args {
		command = append(command, c.inside(arg))
	}
	return command, own
}

type containerSpec struct {
	image, options string
	env            map[string]string
	volumes        []string
}

func readContainer(token *protocol.TemplateToken) (containerSpec, error) {
	spec := containerSpec{env: map[string]string{}}
	if token.Lit != nil {
		spec.image = *token.Lit
	}
	if token.Map != nil {
		for _, entry := range *token.Map {
			switch value := entry.Value; *entry.Key.Lit {
			case "image":
				spec.image = *value.Lit
			case "options":
				spec.options = *value.Lit
			case "env":
				spec.env = stringsOf(value)
			case "volumes":
				for _, volume := range *value.Seq {
					spec.volumes = append(spec.volumes, *volume.Lit)
				}
			default:
				return spec, fmt.Errorf("container: %s is not known to this agent", *entry.Key.Lit)
			}
		}
	}
	if spec.image == "" {
		return spec, fmt.Errorf("container: it names no image")
	}
	return spec, nil
}
