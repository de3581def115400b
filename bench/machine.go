package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"

	runtime "github.com/runnerctl/runnerctl/internal/machine"
)

// runLabel is the label of every container, volume and image that a bench makes, including
// those inside runners. Its value is the run's name.
const runLabel = "dev.runnerctl.bench"

const (
	readyLimit  = 90 * time.Second // for a contender's daemon, also with twenty starting at once
	removeLimit = 60 * time.Second
	sideBySide  = 10 // concurrent removals

	// Interval of readiness checks. A crowd takes ten times as long to start, and the checks
	// must not use up its processors.
	lookOne   = 10 * time.Millisecond
	lookCrowd = 50 * time.Millisecond
)

// machine is the Docker Engine and the objects that this run makes on it.
type machine struct {
	api *client.Client
	run string // name of this run
}

func (m *machine) labels() map[string]string { return map[string]string{runLabel: m.run} }

func (m *machine) own() filters.Args {
	return filters.NewArgs(filters.Arg("label", runLabel+"="+m.run))
}

// contender is one of the ways to run a Docker daemon in an unprivileged container: how it
// is made, and how a command reaches its daemon.
type contender struct {
	name    string
	command []string // its own program
	ready   string   // a question of bench/ready
	config  container.Config
	host    container.HostConfig
	enter   []string
}

// box is a running contender.
type box struct {
	contender
	id, volume string
}

// contenders derives both contenders from a runner that runnerctl made. The stock way gets
// exactly the same flags, and differs only in image, program and the place of its data.
func (m *machine) contenders(ctx context.Context, runnerID, ourImage, stockImage string) (ours, theirs contender, err error) {
	info, err := m.api.ContainerInspect(ctx, runnerID)
	if err != nil {
		return ours, theirs, err
	}
	theirImage, err := m.api.ImageInspect(ctx, stockImage)
	if err != nil {
		return ours, theirs, err
	}
	ours = contender{name: runner, ready: askDocker, enter: []string{enter}, host: *info.HostConfig}
	ours.command = append(ours.command, append(info.Config.Entrypoint, info.Config.Cmd...)...)
	ours.config = container.Config{
		Image: ourImage, User: info.Config.User, Env: info.Config.Env, Labels: m.labels(),
		StopTimeout: info.Config.StopTimeout,
	}
	theirs = contender{name: stock, ready: askDocker, command: theirImage.Config.Entrypoint}
	theirs.config = container.Config{
		Image: stockImage, User: info.Config.User, Labels: m.labels(), StopTimeout: info.Config.StopTimeout,
	}
	text, err := json.Marshal(info.HostConfig)
	if err != nil {
		return ours, theirs, err
	}
	if err := json.Unmarshal(text, &theirs.host); err != nil { // a copy
		return ours, theirs, err
	}
	for i := range theirs.host.Mounts {
		if theirs.host.Mounts[i].Type == mount.TypeVolume {
			theirs.host.Mounts[i].Target = stockData
		}
	}
	return ours, theirs, nil
}

// stockData is where dockerd-rootless.sh keeps its data by default.
const stockData = "/home/runner/.local/share/docker"

// enter is the program that runs a command inside a runner.
const enter = "/usr/lib/runnerctl/exec"

// Questions of bench/ready. A question to a daemon that starts on demand would start it.
const (
	askDocker  = "docker"
	askMachine = "machine"
)

// readyProgram is bench/ready in the image of each contender.
const readyProgram = "/usr/local/bin/bench-ready"

// announced returns the contender's program and, in parallel to it, a program that reports when it
// is ready.
func (c contender) announced(look time.Duration) []string {
	return append([]string{"/bin/sh", "-c", readyProgram + ` "$1" "$2" & shift 2; exec "$@"`, "announced", look.String(), c.ready}, c.command...)
}

// settings returns a runner's settings, and their index in its environment.
func (c contender) settings() (settings runtime.Settings, at int, err error) {
	const prefix = runtime.EnvSettings + "="
	at = slices.IndexFunc(c.config.Env, func(pair string) bool { return strings.HasPrefix(pair, prefix) })
	if at < 0 {
		return settings, at, errors.New("the runner has no " + runtime.EnvSettings)
	}
	return settings, at, json.Unmarshal([]byte(strings.TrimPrefix(c.config.Env[at], prefix)), &settings)
}

// onDemand returns the same runner, except that its daemon starts on demand.
func (c contender) onDemand() (contender, error) {
	settings, at, err := c.settings()
	if err != nil {
		return c, err
	}
	settings.Docker.OnDemand = true
	text, err := json.Marshal(settings)
	c.name, c.ready, c.config.Env = onDemand, askMachine, slices.Clone(c.config.Env)
	c.config.Env[at] = runtime.EnvSettings + "=" + string(text)
	return c, err
}

// with returns the contender with additional arguments for its program.
func (c contender) with(args ...string) contender {
	c.config.Cmd = args
	return c
}

// started holds how long a start took, and how much processor time the contender itself used
// for it, which hardly depends on other load on the machine.
type started struct{ engine, ready, cpu time.Duration }

func (s started) String() string {
	return fmt.Sprintf("%.2f s (%.2f s in the engine; %.2f s of processor time)", s.ready.Seconds(), s.engine.Seconds(), s.cpu.Seconds())
}

// start makes a contender and waits until it is ready. Times are measured from before
// the first call to the engine. look is the interval of readiness checks.
func (m *machine) start(ctx context.Context, c contender, name string, look time.Duration) (_ *box, took started, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	begin := time.Now()
	b := &box{contender: c, volume: name + "-data"}
	config, hostConfig := c.config, c.host
	config.Hostname, config.Entrypoint = name, c.announced(look)
	hostConfig.Mounts = append([]mount.Mount{}, c.host.Mounts...)
	for i := range hostConfig.Mounts {
		if hostConfig.Mounts[i].Type == mount.TypeVolume {
			hostConfig.Mounts[i].Source = b.volume
		}
	}
	whole := context.WithoutCancel(ctx) // an interrupted call may still have created its object
	if _, err := m.api.VolumeCreate(whole, volume.CreateOptions{Name: b.volume, Labels: m.labels()}); err != nil {
		return nil, took, fmt.Errorf("%s: create volume: %w", name, err)
	}
	created, err := m.api.ContainerCreate(whole, &config, &hostConfig, nil, nil, name)
	if err != nil {
		return nil, took, fmt.Errorf("%s: create container: %w", name, err)
	}
	b.id = created.ID
	if err := m.api.ContainerStart(whole, b.id, container.StartOptions{}); err != nil {
		return nil, took, fmt.Errorf("%s: start container: %w", name, err)
	}
	took.engine = time.Since(begin)
	if err := m.waitLine(ctx, b.id, "bench: ready"); err != nil {
		return nil, took, fmt.Errorf("%s: it did not get ready: %w", name, err)
	}
	took.ready = time.Since(begin)
	took.cpu, err = m.cpu(ctx, b.id)
	return b, took, err
}

// waitLine follows a container's log until a line contains wanted.
func (m *machine) waitLine(ctx context.Context, id, wanted string) error {
	stream, err := m.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return err
	}
	defer stream.Close()
	reader, writer := io.Pipe()
	defer func() { _ = reader.Close() }()
	go func() {
		_, err := stdcopy.StdCopy(writer, writer, stream)
		_ = writer.CloseWithError(err)
	}()
	var last []string
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		if strings.Contains(lines.Text(), wanted) {
			return nil
		}
		last = append(last, lines.Text())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w; its last words: %s", context.Cause(ctx), strings.Join(last[max(0, len(last)-5):], " | "))
	}
	return fmt.Errorf("it ended; its last words: %s", strings.Join(last[max(0, len(last)-5):], " | "))
}

// startMany starts n contenders at once and returns when all are ready.
func (m *machine) startMany(ctx context.Context, c contender, n int) (_ []*box, took started, err error) {
	boxes, each := make([]*box, n), make([]started, n)
	group := new(errgroup.Group)
	for i := range n {
		group.Go(func() (err error) {
			boxes[i], each[i], err = m.start(ctx, c, fmt.Sprintf("%s-%s-%d", m.run, c.name, i), lookCrowd)
			return err
		})
	}
	err = group.Wait()
	for _, one := range each {
		took.ready = max(took.ready, one.ready)
		took.engine = max(took.engine, one.engine)
		took.cpu += one.cpu
	}
	return boxes, took, err
}

// remove kills containers and removes them with their volumes.
func (m *machine) remove(ctx context.Context, boxes ...*box) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	group := new(errgroup.Group)
	group.SetLimit(sideBySide)
	for _, b := range boxes {
		group.Go(func() error {
			if err := m.api.ContainerRemove(ctx, b.id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !cerrdefs.IsNotFound(err) {
				return fmt.Errorf("remove container: %w", err)
			}
			if b.volume == "" {
				return nil
			}
			if err := m.api.VolumeRemove(ctx, b.volume, false); err != nil && !cerrdefs.IsNotFound(err) {
				return fmt.Errorf("remove volume: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
}

// removeAll removes every object that carries this run's label.
func (m *machine) removeAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*removeLimit)
	defer cancel()
	containers, err := m.api.ContainerList(ctx, container.ListOptions{All: true, Filters: m.own()})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var boxes []*box
	for _, one := range containers {
		boxes = append(boxes, &box{id: one.ID})
	}
	failures := []error{m.remove(ctx, boxes...)}
	volumes, err := m.api.VolumeList(ctx, volume.ListOptions{Filters: m.own()})
	failures = append(failures, err)
	for _, one := range volumes.Volumes {
		failures = append(failures, m.api.VolumeRemove(ctx, one.Name, false))
	}
	images, err := m.api.ImageList(ctx, image.ListOptions{Filters: m.own()})
	failures = append(failures, err)
	for _, one := range images {
		_, err := m.api.ImageRemove(ctx, one.ID, image.RemoveOptions{Force: true, PruneChildren: true})
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// helper starts a container that only waits for commands, or that runs a server.
func (m *machine) helper(ctx context.Context, name string, config container.Config, hostConfig container.HostConfig) (*box, error) {
	whole := context.WithoutCancel(ctx)
	config.Labels = m.labels()
	yes := true
	hostConfig.Init = &yes
	created, err := m.api.ContainerCreate(whole, &config, &hostConfig, nil, nil, m.run+"-"+name)
	if err != nil {
		return nil, fmt.Errorf("%s: create: %w", name, err)
	}
	if err := m.api.ContainerStart(whole, created.ID, container.StartOptions{}); err != nil {
		return nil, fmt.Errorf("%s: start: %w", name, err)
	}
	return &box{contender: contender{name: name}, id: created.ID}, nil
}

// sh runs a script in an environment with access to the box's daemon, and returns its output.
func (m *machine) sh(ctx context.Context, b *box, stdin io.Reader, script string, args ...string) (string, error) {
	command := append(append(append([]string{}, b.enter...), "sh", "-c", script, "bench"), args...)
	created, err := m.api.ContainerExecCreate(ctx, b.id, container.ExecOptions{AttachStdin: stdin != nil, AttachStdout: true, AttachStderr: true, Cmd: command})
	if err != nil {
		return "", fmt.Errorf("%s: exec: %w", b.name, err)
	}
	attached, err := m.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", fmt.Errorf("%s: exec: %w", b.name, err)
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	if stdin != nil {
		go func() {
			_, _ = io.Copy(attached.Conn, stdin) // ends with the command
			_ = attached.CloseWrite()
		}()
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, attached.Reader); err != nil && ctx.Err() == nil {
		return "", fmt.Errorf("%s: exec: %w", b.name, err)
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	info, err := m.api.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return "", fmt.Errorf("%s: exec: %w", b.name, err)
	}
	if info.ExitCode != 0 {
		return "", fmt.Errorf("%s: a command ended with code %d: %s", b.name, info.ExitCode, strings.TrimSpace(errs.String()+out.String()))
	}
	return out.String(), nil
}

// load copies images from the machine's engine to a box's daemon.
func (m *machine) load(ctx context.Context, b *box, references ...string) error {
	stream, err := m.api.ImageSave(ctx, references)
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	defer stream.Close()
	_, err = m.sh(ctx, b, stream, "docker load --quiet")
	return err
}

func (m *machine) stats(ctx context.Context, id string) (stats container.StatsResponse, err error) {
	reply, err := m.api.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return stats, fmt.Errorf("stats: %w", err)
	}
	defer reply.Body.Close()
	if err := json.NewDecoder(reply.Body).Decode(&stats); err != nil {
		return stats, fmt.Errorf("stats: %w", err)
	}
	return stats, nil
}

// cpu returns the processor time that a container has used. The engine reads it from the
// container's control group, of either version.
func (m *machine) cpu(ctx context.Context, id string) (time.Duration, error) {
	stats, err := m.stats(ctx, id)
	return time.Duration(stats.CPUStats.CPUUsage.TotalUsage), err //nolint:gosec // nanoseconds
}

// statsMiB returns a container's memory as `docker stats` shows it.
func (m *machine) statsMiB(ctx context.Context, id string) (float64, error) {
	stats, err := m.stats(ctx, id)
	if err != nil {
		return 0, err
	}
	inactive, v1 := stats.MemoryStats.Stats["total_inactive_file"]
	if !v1 {
		inactive = stats.MemoryStats.Stats["inactive_file"]
	}
	return float64(stats.MemoryStats.Usage-min(inactive, stats.MemoryStats.Usage)) / (1 << 20), nil
}
