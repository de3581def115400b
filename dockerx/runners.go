package dockerx

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

const (
	waitReady = "/usr/lib/runnerctl/wait-ready"
	status    = "/usr/lib/runnerctl/status"
)

// The engine's exit codes for a program that it could not start in a container.
const (
	notExecutable = 126
	notFound      = 127
)

// removeLimit is how long the removal of one runner may take once started: its stop timeout
// and some time for a busy engine.
const removeLimit = (stopSeconds + 30) * time.Second

// createLimit is how long the creation of one container may take once started; a busy engine
// needs some of it.
const createLimit = 2 * time.Minute

// noticeLimit is how long the engine may take to notice that a container has ended, after no
// program could be run in it any more.
const noticeLimit = 2 * time.Second

// handOver is how long the engine may take to pass a credential on.
const handOver = 10 * time.Second

// Runners lists the fleet's runners; if name is "", every runner on the engine, including
// throw-away ones.
func (e *Engine) Runners(ctx context.Context, name string) ([]fleet.Runner, error) {
	return e.runners(ctx, name, true)
}

// Known is like Runners, but does not look inside: it asks no runner anything.
func (e *Engine) Known(ctx context.Context, name string) ([]fleet.Runner, error) {
	return e.runners(ctx, name, false)
}

func (e *Engine) runners(ctx context.Context, name string, inside bool) ([]fleet.Runner, error) {
	selected := members(name)
	if name == "" {
		selected = filters.NewArgs(filters.Arg("label", labelFleet))
	}
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: selected})
	if err != nil {
		return nil, fmt.Errorf("list runners: %w", err)
	}
	list = slices.DeleteFunc(list, func(one container.Summary) bool { return !runnerRoles[one.Labels[labelRole]] })
	runners := make([]fleet.Runner, len(list))
	group := new(errgroup.Group)
	group.SetLimit(8)
	for i, summary := range list {
		group.Go(func() error {
			if err := checkSchema("container "+strings.TrimPrefix(summary.Names[0], "/"), summary.Labels); err != nil {
				return err
			}
			if !isRunner(summary) {
				return nil
			}
			runner, err := e.inspect(ctx, summary.ID)
			if cerrdefs.IsNotFound(err) {
				return nil // removed meanwhile
			}
			if err != nil {
				return err
			}
			if inside && runner.State == fleet.Running {
				e.look(ctx, &runner)
			}
			runners[i] = runner
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found := runners[:0]
	for _, runner := range runners {
		if runner.ContainerID != "" {
			found = append(found, runner)
		}
	}
	return found, nil
}

func (e *Engine) inspect(ctx context.Context, id string) (fleet.Runner, error) {
	info, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return fleet.Runner{}, fmt.Errorf("inspect container %s: %w", id, err)
	}
	created, err := time.Parse(time.RFC3339Nano, info.Created)
	if err != nil {
		return fleet.Runner{}, fmt.Errorf("container %s: created: %w", id, err)
	}
	cpus, _ := strconv.ParseFloat(info.Config.Labels[labelCPUs], 64) // 0 where absent
	return fleet.Runner{
		Name:        strings.TrimPrefix(info.Name, "/"),
		Fleet:       info.Config.Labels[labelFleet],
		Role:        fleet.Role(info.Config.Labels[labelRole]),
		Host:        e.host,
		State:       fleet.State(info.State.Status),
		Image:       info.Config.Image,
		Created:     created.UTC(),
		ContainerID: info.ID,
		CPUs:        cpus,
		Memory:      info.HostConfig.Memory,
		Revivals:    info.RestartCount,
		ImageID:     info.Image,
		SpecHash:    info.Config.Labels[labelSpec],
		Agent:       agentOf(info.Config.Env),
		Cached:      settingsOf(info.Config.Env).Cache != nil,
		Start:       startOf(info.Config.Env),
		ExitCode:    info.State.ExitCode,
		OutOfMemory: info.State.OOMKilled,
	}, nil
}

// Names lists all container names on the engine, including those of foreign containers.
func (e *Engine) Names(ctx context.Context) (map[string]bool, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	names := map[string]bool{}
	for _, summary := range list {
		for _, name := range summary.Names {
			names[strings.TrimPrefix(name, "/")] = true
		}
	}
	return names, nil
}

// Create creates a runner and starts it in the given way. On an error it leaves nothing behind,
// and does not touch a container or volume that had the name before.
func (e *Engine) Create(ctx context.Context, name string, spec fleet.Spec, start fleet.Start, credential secret.Text) (fleet.Runner, error) {
	switch wanted := spec.Agent.Mode != fleet.NoAgent && start != fleet.Spare; {
	case start == fleet.Spare && spec.Agent.Mode != fleet.JIT:
		return fleet.Runner{}, fmt.Errorf("runner %s: agent mode %q has no spares", name, spec.Agent.Mode)
	case wanted == credential.Empty():
		return fleet.Runner{}, fmt.Errorf("runner %s: agent mode %q does not match the credential (present: %t)", name, spec.Agent.Mode, !credential.Empty())
	}
	config, host := containerConfig(name, spec, start)
	return e.create(ctx, spec, form{name, config, host}, credential)
}

// form is a runner's container as the engine gets it.
type form struct {
	name   string
	config *container.Config
	host   *container.HostConfig
}

func (e *Engine) create(ctx context.Context, spec fleet.Spec, of form, credential secret.Text) (_ fleet.Runner, err error) {
	name := of.name
	data := volumeName(name)
	if _, err := e.api.VolumeInspect(ctx, data); err == nil {
		return fleet.Runner{}, fmt.Errorf("runner %s: a volume named %s exists already", name, data)
	} else if !cerrdefs.IsNotFound(err) {
		return fleet.Runner{}, fmt.Errorf("runner %s: volume: %w", name, err)
	}
	// The creating calls run to their end even if ctx ends meanwhile: an interrupted call may
	// have created its object all the same, and its id would be lost.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
	defer cancel()
	labels := ownLabels(spec.Fleet, roleOf(spec))
	labels[labelRunner] = name
	if spec.Role == fleet.Preload { // it serves all fleets, and outlives the runner, but not the runner's image
		labels[labelFleet], labels[labelImageID] = "", spec.ImageID
	}
	if _, err := e.api.VolumeCreate(whole, volume.CreateOptions{Name: data, Labels: labels}); err != nil {
		return fleet.Runner{}, fmt.Errorf("runner %s: create volume: %w", name, err)
	}
	made := fleet.Runner{Name: name, Fleet: spec.Fleet, Host: e.host}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.RemoveAtOnce(ctx, made))
		}
	}()
	for {
		response, err := e.api.ContainerCreate(whole, of.config, of.host, nil, nil, name)
		if err != nil {
			return fleet.Runner{}, fmt.Errorf("runner %s: create container: %w", name, err)
		}
		made.ContainerID = response.ID
		if err := ctx.Err(); err != nil {
			return fleet.Runner{}, err
		}
		err = e.start(whole, response.ID, credential, spec.CAs)
		if err == nil {
			return made, nil
		}
		if len(of.host.Ulimits) == 0 || !refusesUlimit(err) {
			return fleet.Runner{}, fmt.Errorf("runner %s: %w", name, err)
		}
		of.host.Ulimits = nil // the engine can grant less than it seemed
		if err := e.api.ContainerRemove(whole, response.ID, container.RemoveOptions{Force: true}); err != nil {
			return fleet.Runner{}, fmt.Errorf("runner %s: remove container: %w", name, err)
		}
	}
}

// refusesUlimit reports whether a start failed because the engine can't grant a limit, as
// runc and crun put it.
func refusesUlimit(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "rlimit")
}

// start starts a container and writes the credential, if there is one, to its standard input,
// so that no file and no variable holds it. The certificates, which may be too long for a
// variable, go the same way.
func (e *Engine) start(ctx context.Context, id string, credential secret.Text, cas []byte) error {
	if credential.Empty() {
		if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
			return fmt.Errorf("start container: %w", err)
		}
		return nil
	}
	attached, err := e.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return fmt.Errorf("attach to container: %w", err)
	}
	defer attached.Close()
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	if err := write(attached, credential, cas); err != nil {
		return err
	}
	hangUp(attached)
	return nil
}

// Give passes a credential to a spare's agent. The engine accepts one credential, from the
// first client that attaches, and then closes the runner's standard input. It passes the
// credential on at once, but hangs up only when the container ends. Give does not wait for
// that: the agent connects, or ends, and so shows the result.
func (e *Engine) Give(ctx context.Context, runner fleet.Runner, credential secret.Text, spec fleet.Spec) error {
	attached, err := e.api.ContainerAttach(ctx, runner.ContainerID, container.AttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return fmt.Errorf("runner %s: attach to container: %w", runner.Name, err)
	}
	if err := write(attached, credential, spec.CAs); err != nil {
		attached.Close()
		return fmt.Errorf("runner %s: %w", runner.Name, err)
	}
	go func() {
		defer attached.Close()
		hangUp(attached)
	}()
	return nil
}

func write(attached types.HijackedResponse, credential secret.Text, cas []byte) error {
	line := credential.Reveal()
	if len(cas) > 0 {
		line += " " + base64.StdEncoding.EncodeToString(cas)
	}
	if _, err := io.WriteString(attached.Conn, line+"\n"); err != nil {
		return fmt.Errorf("write the credential: %w", err)
	}
	if err := attached.CloseWrite(); err != nil {
		return fmt.Errorf("write the credential: %w", err)
	}
	return nil
}

// hangUp waits until the engine hangs up, which it does once it has passed everything on: a
// connection that is closed earlier might lose the end of it.
func hangUp(attached types.HijackedResponse) {
	_ = attached.Conn.SetReadDeadline(time.Now().Add(handOver))
	_, _ = io.Copy(io.Discard, attached.Reader)
}

// errEnded means that a container has ended, so that waiting is useless; its exit state
// explains more.
var errEnded = errors.New("its container ended")

// WaitReady blocks until the inner daemon answers, or the container ends. A runner that was
// not created just now may have answered before, so it is asked again.
func (e *Engine) WaitReady(ctx context.Context, runner fleet.Runner) (string, error) {
	version, err := e.ask(ctx, runner.ContainerID, waitReady)
	for err == nil && !runner.Created.IsZero() {
		if e.look(ctx, &runner); runner.Ready {
			return runner.DockerVersion, nil
		}
		if _, ended, _ := e.Ended(ctx, runner); ended {
			err = errEnded
			break
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err == nil {
		return version, nil
	}
	late := errors.New("the time limit was reached")
	if ctx.Err() != nil {
		return "", late
	}
	noticed, cancel := context.WithTimeout(ctx, noticeLimit)
	defer cancel()
	ended, failed := e.api.ContainerWait(noticed, runner.ContainerID, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case waited := <-failed: // the engine has noticed no end
		if errors.Is(waited, context.DeadlineExceeded) && ctx.Err() != nil {
			return "", late
		}
	}
	info, inspectErr := e.api.ContainerInspect(ctx, runner.ContainerID)
	if cerrdefs.IsNotFound(inspectErr) {
		return "", errors.New("its container was removed")
	}
	if inspectErr == nil {
		switch {
		case info.RestartCount > 0:
			return "", fmt.Errorf("its container keeps restarting (%d restarts)", info.RestartCount)
		case !info.State.Running:
			problem := fmt.Sprintf("its container ended with exit code %d", info.State.ExitCode)
			if hasAgent(info.Config) {
				problem += " (" + fleet.Verdict(info.State.ExitCode, info.State.OOMKilled) + ")"
			}
			return "", errors.New(problem)
		}
	}
	return "", err
}

// Ended reports whether a runner's container has ended for good, and its exit code.
func (e *Engine) Ended(ctx context.Context, runner fleet.Runner) (int, bool, error) {
	info, err := e.api.ContainerInspect(ctx, runner.ContainerID)
	if err != nil {
		return 0, false, fmt.Errorf("runner %s: %w", runner.Name, err)
	}
	return info.State.ExitCode, !info.State.Running && !info.State.Restarting, nil
}

// look adds the data that only the runner itself has. If that can't be read, the runner is
// not ready.
func (e *Engine) look(ctx context.Context, runner *fleet.Runner) {
	out, stderr := &Head{Limit: 1 << 16}, &Head{Limit: 1 << 10}
	code, err := e.exec(ctx, runner.ContainerID, []string{status}, out, stderr)
	switch {
	case err != nil:
		return
	case code == notExecutable || code == notFound:
		runner.Problem = "no program can be started in it: " + strings.TrimSpace(out.String()+stderr.String())
		return
	case code != 0:
		return
	}
	if report, err := parseStatus(out.String()); err == nil {
		describeInside(report, runner)
	}
}

// Look returns a runner with the data that only the runner itself has.
func (e *Engine) Look(ctx context.Context, runner fleet.Runner) fleet.Runner {
	if runner.State == fleet.Running {
		e.look(ctx, &runner)
	}
	return runner
}

// ask runs one of the image's own programs in the outer tree.
func (e *Engine) ask(ctx context.Context, id, program string) (string, error) {
	var out, stderr bytes.Buffer
	code, err := e.exec(ctx, id, []string{program}, &out, &stderr)
	if err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("the inner daemon does not answer (code %d) %s", code, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// Cancel interrupts the agent itself, which cancels its job and reports that to GitHub. In
// contrast, a runner that is stopped gives its job some time first.
func (e *Engine) Cancel(ctx context.Context, runner fleet.Runner) error {
	var out, stderr bytes.Buffer
	code, err := e.exec(ctx, runner.ContainerID, []string{enter, "--root", "pkill", "-INT", "-x", "-u", "runner", "Runner.Listener"}, &out, &stderr)
	if err != nil {
		return fmt.Errorf("runner %s: cancel its job: %w", runner.Name, err)
	}
	if code > 1 { // 1: it has ended
		return fmt.Errorf("runner %s: cancel its job: code %d: %s", runner.Name, code, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// Remove stops a runner gracefully and removes its container and volume. Once started, it
// runs to its end even if ctx ends: half of it would leave a volume that nothing refers to.
func (e *Engine) Remove(ctx context.Context, runner fleet.Runner) error {
	return e.remove(ctx, runner, false)
}

// RemoveAtOnce is like Remove, but kills the runner instead of stopping it. A container loses
// a stop signal that comes before its first process listens for it, and the engine would wait
// for the whole time that a job is given.
func (e *Engine) RemoveAtOnce(ctx context.Context, runner fleet.Runner) error {
	return e.remove(ctx, runner, true)
}

func (e *Engine) remove(ctx context.Context, runner fleet.Runner, atOnce bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	if runner.ContainerID != "" {
		if !atOnce {
			if runner.State == fleet.Paused {
				_ = e.api.ContainerUnpause(ctx, runner.ContainerID) // it can't stop while paused; the removal is forced
			}
			if err := e.api.ContainerStop(ctx, runner.ContainerID, container.StopOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
				return fmt.Errorf("runner %s: stop: %w", runner.Name, err)
			}
		}
		err := e.api.ContainerRemove(ctx, runner.ContainerID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("runner %s: remove container: %w", runner.Name, err)
		}
	}
	return e.removeVolume(ctx, runner.Name)
}

// removeVolume removes a runner's volume, if it is ours.
func (e *Engine) removeVolume(ctx context.Context, runner string) error {
	data, err := e.api.VolumeInspect(ctx, volumeName(runner))
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("runner %s: volume: %w", runner, err)
	}
	if data.Labels[labelRunner] != runner {
		return nil // not ours
	}
	if err := e.api.VolumeRemove(ctx, data.Name, false); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("runner %s: remove volume: %w", runner, err)
	}
	return nil
}

// Discard removes a throw-away runner and its volume at once, with all programs that run in
// it. It runs to its end even if ctx ends.
func (e *Engine) Discard(ctx context.Context, name string) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	runner, err := e.Runner(whole, name)
	if err != nil {
		return err
	}
	if runner.Role == fleet.Member {
		return fmt.Errorf("runner %s belongs to fleet %s", name, runner.Fleet)
	}
	runner.Name = name // even if its container is gone
	return e.RemoveAtOnce(ctx, runner)
}

// LastLines returns the end of a runner's log; nothing if it can't be read.
func (e *Engine) LastLines(ctx context.Context, runner fleet.Runner, n int) []string {
	stream, err := e.api.ContainerLogs(ctx, runner.ContainerID, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(n)})
	if err != nil {
		return nil
	}
	defer stream.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, stream); err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}

// Fleets names all fleets that have a runner, a supervisor or a volume on the engine, sorted.
func (e *Engine) Fleets(ctx context.Context) ([]string, error) {
	labelled := filters.NewArgs(filters.Arg("label", labelFleet))
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled})
	if err != nil {
		return nil, fmt.Errorf("list runners: %w", err)
	}
	volumes, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: labelled})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	names := map[string]bool{}
	add := func(labels map[string]string) {
		switch labels[labelRole] {
		case roleRunner, roleSupervisor, roleState, roleCredential:
			names[labels[labelFleet]] = true
		}
	}
	for _, one := range list {
		add(one.Labels)
	}
	for _, one := range volumes.Volumes {
		add(one.Labels)
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// RemoveOrphans removes the fleet's volumes whose runner is gone, and its probes that were
// never started: a killed process leaves them behind. Call it with the fleet's lock held,
// else it might remove the volume of a runner that is just being created.
func (e *Engine) RemoveOrphans(ctx context.Context, fleetName string) error {
	volumes, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: members(fleetName)})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	names, err := e.Names(ctx)
	if err != nil {
		return err
	}
	failures := []error{e.removeIdleProbes(ctx, fleetName)}
	for _, orphan := range volumes.Volumes {
		runner := orphan.Labels[labelRunner]
		if runner == "" || names[runner] || checkSchema("", orphan.Labels) != nil {
			continue
		}
		if err := e.api.VolumeRemove(ctx, orphan.Name, false); err != nil && !cerrdefs.IsNotFound(err) {
			failures = append(failures, fmt.Errorf("volume %s: %w", orphan.Name, err))
		}
	}
	return errors.Join(failures...)
}

// Runner finds a runner by name, including throw-away ones. The result has no ContainerID if
// there is no such runner.
func (e *Engine) Runner(ctx context.Context, name string) (fleet.Runner, error) {
	args := filters.NewArgs(filters.Arg("label", labelFleet), filters.Arg("name", "^/"+regexp.QuoteMeta(name)+"$"))
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		return fleet.Runner{}, fmt.Errorf("runner %s: %w", name, err)
	}
	if len(list) == 0 || !isRunner(list[0]) {
		return fleet.Runner{}, nil
	}
	return e.inspect(ctx, list[0].ID)
}

// HostUIDs counts a runner's processes by their uid on the host.
func (e *Engine) HostUIDs(ctx context.Context, runner fleet.Runner) (map[string]int, error) {
	top, err := e.api.ContainerTop(ctx, runner.ContainerID, []string{"-eo", "uid,pid,comm"})
	if err != nil {
		return nil, fmt.Errorf("runner %s: processes: %w", runner.Name, err)
	}
	uids := map[string]int{}
	for _, process := range top.Processes {
		uids[process[0]]++
	}
	return uids, nil
}
