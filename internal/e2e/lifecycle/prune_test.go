//go:build linux

package lifecycle

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// everything returns the names of all objects on an engine.
func everything(t *testing.T, api *client.Client) string {
	t.Helper()
	names := map[string]bool{}
	containers, err := api.ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range containers {
		names[strings.TrimPrefix(one.Names[0], "/")] = true
	}
	volumes, err := api.VolumeList(t.Context(), volume.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range volumes.Volumes {
		if len(one.Name) < 64 { // others are anonymous volumes, of the image's VOLUME in another's container
			names[one.Name] = true
		}
	}
	images, err := api.ImageList(t.Context(), image.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range images {
		for _, tag := range one.RepoTags {
			names[tag] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), " ")
}

// leftByRunners makes objects of fleets on an engine.
type leftByRunners struct {
	api *client.Client
	tag string // of the runner image
}

func ownLabels(fleet, role, runner string) map[string]string {
	all := map[string]string{"dev.runnerctl.fleet": fleet, "dev.runnerctl.role": role, "dev.runnerctl.schema": "1"}
	if runner != "" {
		all["dev.runnerctl.runner"] = runner
	}
	return all
}

func (l leftByRunners) volume(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	if _, err := l.api.VolumeCreate(t.Context(), volume.CreateOptions{Name: name, Labels: labels}); err != nil {
		t.Fatal(err)
	}
}

func (l leftByRunners) container(t *testing.T, name, from, script string, labels map[string]string) {
	t.Helper()
	host := &container.HostConfig{NetworkMode: "none"}
	if labels["dev.runnerctl.role"] != "" {
		host.Binds = []string{name + "-data:/rootfs/var/lib/docker"}
	}
	made, err := l.api.ContainerCreate(t.Context(), &container.Config{Image: from, Entrypoint: []string{"sh", "-c", script}, Cmd: []string{}, Labels: labels}, host, nil, nil, name)
	if err == nil {
		err = l.api.ContainerStart(t.Context(), made.ID, container.StartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// commit makes an image of a container, with a label of ours.
func (l leftByRunners) commit(t *testing.T, name, as string) {
	t.Helper()
	if _, err := l.api.ContainerCommit(t.Context(), name, container.CommitOptions{Reference: as, Changes: []string{`LABEL dev.runnerctl.image="old"`}}); err != nil {
		t.Fatal(err)
	}
}

// runner makes a container with the labels of a runner, and its volume.
func (l leftByRunners) runner(t *testing.T, fleet, role, name, script string) {
	t.Helper()
	l.volume(t, name+"-data", ownLabels(fleet, role, name))
	l.container(t, name, l.tag, script, ownLabels(fleet, role, ""))
}

// The scripts of containers: the first stays, the second ends.
const stays, ends = "exec sleep 1000", "head -c 3000000 /dev/zero >/tmp/much"

// all makes objects of every kind: those that prune removes, and those that it leaves.
func (l leftByRunners) all(t *testing.T) {
	t.Helper()
	l.runner(t, "alive", "runner", "alive-aaaa", stays)
	l.runner(t, "alive", "runner", "alive-bbbb", ends)
	l.runner(t, "ended", "runner", "ended-aaaa", ends)
	l.runner(t, "ci", "run", "ci-run-aaaa", stays)
	l.runner(t, "ci", "kept", "ci-run-bbbb", stays)
	l.volume(t, "gone-aaaa-data", ownLabels("gone", "runner", "gone-aaaa"))
	// Objects of another owner, with names that could be ours, and those of a newer
	// runnerctl.
	l.volume(t, "ended-cccc-data", nil)
	l.container(t, "ended-dddd", "debian:trixie-slim", ends, map[string]string{"owner": "somebody"})
	newer := ownLabels("newer", "runner", "newer-aaaa")
	newer["dev.runnerctl.schema"] = "99"
	l.volume(t, "newer-aaaa-data", newer)
	// Images: an older one of ours, a used one, and one built on ours. They are
	// committed from a runner, and so have its labels.
	for _, as := range []string{"runnerctl/runner:older", "acme/on-ours:1", "runnerctl/runner:used"} {
		l.commit(t, "ended-aaaa", as)
	}
	l.container(t, "somebodys", "runnerctl/runner:used", ends, nil)
	e2e.Eventually(t, time.Minute, "the scripts that end have ended", func() bool {
		for _, name := range []string{"alive-bbbb", "ended-aaaa", "ended-dddd", "somebodys"} {
			if info, err := l.api.ContainerInspect(t.Context(), name); err != nil || info.State.Running {
				return false
			}
		}
		return true
	})
}

// Runs on a private engine: prune removes every object of ours wherever it looks, and other
// tests use the machine's engine.
func TestPrune(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	private := enginetest.Start(t, enginetest.Options{From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", private.Host)
	api := private.API
	left := leftByRunners{api: api, tag: tag}
	left.all(t)

	before := everything(t, api)
	e2e.Step(t, "a plan lists the leftovers", pruneIsPlanned)
	e2e.Step(t, "on a terminal, prune asks, and Enter alone means no", pruneIsDeclined)
	e2e.Step(t, "a plan and a no change nothing", func(t *testing.T) {
		if after := everything(t, api); after != before {
			t.Errorf("got\n%s\nwant\n%s", after, before)
		}
	})
	e2e.Step(t, "prune removes the leftovers and nothing else", func(t *testing.T) {
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "prune", "--yes")
		if code != 0 || stdout != "" || !strings.Contains(stderr, "remove  volume     gone-aaaa-data") || !strings.Contains(stderr, "✔ container ended-aaaa\n") || !strings.Contains(stderr, "\nreclaimed ") {
			t.Errorf("exit code %d, want 0; stdout %q, want none; stderr:\n%s\nwant the volume gone-aaaa-data and the container ended-aaaa removed, and the space reclaimed", code, stdout, stderr)
		}
		want := "acme/on-ours:1 alive-aaaa alive-aaaa-data alive-bbbb alive-bbbb-data ci-run-bbbb ci-run-bbbb-data debian:trixie-slim " +
			"ended-cccc-data ended-dddd newer-aaaa-data runnerctl/runner:used " + tag + " somebodys"
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if after := everything(t, api); after != strings.Join(wanted, " ") {
			t.Errorf("left\n%s\nwant\n%s", after, strings.Join(wanted, " "))
		}
	})
	t.Run("a second prune has nothing to do", func(t *testing.T) {
		if code, stdout, stderr := e2e.Runnerctl(t.Context(), "prune", "--yes"); code != 0 || stdout != "" || stderr != "nothing to remove\n" {
			t.Errorf("exit code %d, want 0; stdout %q, want none; stderr %q, want %q", code, stdout, stderr, "nothing to remove\n")
		}
	})
	t.Run("--kept removes the kept ones too", func(t *testing.T) {
		e2e.Must(t, "prune", "--yes", "--kept")
		if after := everything(t, api); strings.Contains(after, "ci-run-") {
			t.Errorf("left: %s, want nothing of ci-run-", after)
		}
	})
	t.Run("down --all removes leftovers of runs, and all fleets", func(t *testing.T) {
		left.runner(t, "ci", "run", "ci-run-cccc", stays)
		left.runner(t, "ci", "kept", "ci-run-dddd", stays)
		e2e.Must(t, "down", "--all")
		if after := everything(t, api); strings.Contains(after, "ci-run-") || strings.Contains(after, "alive-") || !strings.Contains(after, "newer-aaaa-data") {
			t.Errorf("left: %s, want newer-aaaa-data, and nothing of ci-run- or alive-", after)
		}
	})
}

func pruneIsPlanned(t *testing.T) {
	plan := e2e.Must(t, "prune", "--dry-run")
	for _, want := range []string{"container  ended-aaaa  2.9MiB", "container  ci-run-aaaa", "volume     gone-aaaa-data", "image      runnerctl/runner:older"} {
		if !strings.Contains(plan, "remove  "+want) {
			t.Errorf("no %q in\n%s", want, plan)
		}
	}
	if lines := strings.Count(plan, "\n"); lines != 4 {
		t.Errorf("%d lines, want 4:\n%s", lines, plan)
	}
	if plan := e2e.Must(t, "prune", "--dry-run", "--images"); strings.Count(plan, "\n") != 1 || !strings.Contains(plan, "runnerctl/runner:older") {
		t.Errorf("images only:\n%s\nwant one line, of runnerctl/runner:older", plan)
	}
}

func pruneIsDeclined(t *testing.T) {
	person, seen, ended := e2e.OnTerminal(t, "prune")
	if _, err := person.ExpectString("Remove these 4"); err != nil {
		t.Fatalf("want %q: %v\n%s", "Remove these 4", err, seen)
	}
	if _, err := person.SendLine(""); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = person.ExpectEOF() }() // the terminal answers only while it is read
	if code := e2e.AwaitExit(t, ended, seen); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, seen)
	}
}
