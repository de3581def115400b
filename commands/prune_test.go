//go:build linux

package commands

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

// Runs on a private engine: prune removes every object of ours wherever it looks, and other
// tests use the machine's engine.
func TestPrune(t *testing.T) {
	machine := realEngine(t)
	tag := runnerImage(t)
	private := enginetest.Start(t, enginetest.Options{From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", private.Host)
	api := private.API

	labels := func(fleet, role, runner string) map[string]string {
		all := map[string]string{"dev.runnerctl.fleet": fleet, "dev.runnerctl.role": role, "dev.runnerctl.schema": "1"}
		if runner != "" {
			all["dev.runnerctl.runner"] = runner
		}
		return all
	}
	makeVolume := func(name string, labels map[string]string) {
		t.Helper()
		if _, err := api.VolumeCreate(t.Context(), volume.CreateOptions{Name: name, Labels: labels}); err != nil {
			t.Fatal(err)
		}
	}
	makeContainer := func(name, from, script string, labels map[string]string) {
		t.Helper()
		host := &container.HostConfig{NetworkMode: "none"}
		if labels["dev.runnerctl.role"] != "" {
			host.Binds = []string{name + "-data:/rootfs/var/lib/docker"}
		}
		made, err := api.ContainerCreate(t.Context(), &container.Config{Image: from, Entrypoint: []string{"sh", "-c", script}, Cmd: []string{}, Labels: labels}, host, nil, nil, name)
		if err == nil {
			err = api.ContainerStart(t.Context(), made.ID, container.StartOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	commit := func(name, as string) {
		t.Helper()
		if _, err := api.ContainerCommit(t.Context(), name, container.CommitOptions{Reference: as, Changes: []string{`LABEL dev.runnerctl.image="old"`}}); err != nil {
			t.Fatal(err)
		}
	}
	runner := func(fleet, role, name, script string) {
		t.Helper()
		makeVolume(name+"-data", labels(fleet, role, name))
		makeContainer(name, tag, script, labels(fleet, role, ""))
	}
	const stays, ends = "exec sleep 1000", "head -c 3000000 /dev/zero >/tmp/much"
	runner("alive", "runner", "alive-aaaa", stays)
	runner("alive", "runner", "alive-bbbb", ends)
	runner("ended", "runner", "ended-aaaa", ends)
	runner("ci", "run", "ci-run-aaaa", stays)
	runner("ci", "kept", "ci-run-bbbb", stays)
	makeVolume("gone-aaaa-data", labels("gone", "runner", "gone-aaaa"))
	// Objects of another owner, with names that could be ours, and those of a newer
	// runnerctl.
	makeVolume("ended-cccc-data", nil)
	makeContainer("ended-dddd", "debian:trixie-slim", ends, map[string]string{"owner": "somebody"})
	newer := labels("newer", "runner", "newer-aaaa")
	newer["dev.runnerctl.schema"] = "99"
	makeVolume("newer-aaaa-data", newer)
	// Images: an older one of ours, one that is used, and one built on ours. They are
	// committed from a runner, and so have its labels.
	for _, as := range []string{"runnerctl/runner:older", "acme/on-ours:1", "runnerctl/runner:used"} {
		commit("ended-aaaa", as)
	}
	makeContainer("somebodys", "runnerctl/runner:used", ends, nil)
	eventually(t, time.Minute, "what ends has ended", func() bool {
		for _, name := range []string{"alive-bbbb", "ended-aaaa", "ended-dddd", "somebodys"} {
			if info, err := api.ContainerInspect(t.Context(), name); err != nil || info.State.Running {
				return false
			}
		}
		return true
	})

	before := everything(t, api)
	plan := must(t, "prune", "--dry-run")
	for _, want := range []string{"container  ended-aaaa  2.9MiB", "container  ci-run-aaaa", "volume     gone-aaaa-data", "image      runnerctl/runner:older"} {
		if !strings.Contains(plan, "remove  "+want) {
			t.Errorf("no %q in\n%s", want, plan)
		}
	}
	if lines := strings.Count(plan, "\n"); lines != 4 {
		t.Errorf("%d lines:\n%s", lines, plan)
	}
	if plan := must(t, "prune", "--dry-run", "--images"); strings.Count(plan, "\n") != 1 || !strings.Contains(plan, "runnerctl/runner:older") {
		t.Errorf("images only:\n%s", plan)
	}
	// On a terminal, prune asks, and Enter alone means "no".
	person, seen, ended := onTerminal(t, "prune")
	if _, err := person.ExpectString("Remove these 4"); err != nil {
		t.Fatalf("%v\n%s", err, seen)
	}
	if _, err := person.SendLine(""); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = person.ExpectEOF() }() // the terminal answers only while it is read
	if code := code(t, ended, seen); code != 0 {
		t.Errorf("code %d\n%s", code, seen)
	}
	if after := everything(t, api); after != before {
		t.Errorf("plans and a no changed\n%s to\n%s", before, after)
	}

	code, stdout, stderr := runnerctl(t.Context(), "prune", "--yes")
	if code != 0 || stdout != "" || !strings.Contains(stderr, "remove  volume     gone-aaaa-data") || !strings.Contains(stderr, "✔ container ended-aaaa\n") || !strings.Contains(stderr, "\nreclaimed ") {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	want := "acme/on-ours:1 alive-aaaa alive-aaaa-data alive-bbbb alive-bbbb-data ci-run-bbbb ci-run-bbbb-data debian:trixie-slim " +
		"ended-cccc-data ended-dddd newer-aaaa-data runnerctl/runner:used " + tag + " somebodys"
	wanted := strings.Fields(want)
	slices.Sort(wanted)
	if after := everything(t, api); after != strings.Join(wanted, " ") {
		t.Errorf("left\n%s\nwant\n%s", after, strings.Join(wanted, " "))
	}
	if code, stdout, stderr := runnerctl(t.Context(), "prune", "--yes"); code != 0 || stdout != "" || stderr != "nothing to remove\n" {
		t.Errorf("again: code %d: %s%s", code, stdout, stderr)
	}
	must(t, "prune", "--yes", "--kept")
	if after := everything(t, api); strings.Contains(after, "ci-run-") {
		t.Errorf("kept ones are left: %s", after)
	}
	// down --all removes what is left of runs, and all fleets.
	runner("ci", "run", "ci-run-cccc", stays)
	runner("ci", "kept", "ci-run-dddd", stays)
	must(t, "down", "--all")
	if after := everything(t, api); strings.Contains(after, "ci-run-") || strings.Contains(after, "alive-") || !strings.Contains(after, "newer-aaaa-data") {
		t.Errorf("after down --all: %s", after)
	}
}
