package prune

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func TestNewPlan(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	old, fresh := now.Add(-time.Hour), now.Add(-time.Second)
	container := func(name, of string, role fleet.Role, state fleet.State, created time.Time) Container {
		return Container{Name: name, ID: name, Fleet: of, Role: role, State: state, Created: created, Size: 1}
	}
	hold := func(runner string, state fleet.State, created time.Time) Container {
		one := container("runnerctl-hold-"+runner, "ci", fleet.Hold, state, created)
		one.Runner = runner
		return one
	}
	data := func(runner string, role fleet.Role) Volume {
		return Volume{Name: runner + "-data", Fleet: "ci", Role: role, Runner: runner, Size: 10}
	}
	preload := func(runner, image string) Volume {
		one := data(runner, fleet.Preload)
		one.Image = "sha256:" + image
		return one
	}
	state := func(of string) []Volume {
		return []Volume{{Name: "runnerctl-state-" + of, Fleet: of, Role: fleet.StateRole, Size: 10}, {Name: "runnerctl-credential-" + of, Fleet: of, Role: fleet.Credential, Size: 10}}
	}
	image := func(id string, minute int, tags ...string) Image {
		return Image{ID: "sha256:" + id, Tags: tags, Created: old.Add(time.Duration(minute) * time.Minute), Size: 100}
	}
	containers := func(all ...Container) Inventory { return Inventory{Containers: all} }
	running := container("ci-a", "ci", fleet.Member, fleet.Running, old)
	exited := container("ci-b", "ci", fleet.Member, "exited", old)

	tests := []struct {
		name    string
		all     Inventory
		options Options
		want    string
	}{
		{"a fleet that lives keeps all", containers(running, exited, container("ci-c", "ci", fleet.Member, "created", old)), Options{}, ""},
		{"paused and restarting ones live", containers(container("a-1", "a", fleet.Member, fleet.Paused, old), container("b-1", "b", fleet.Member, fleet.Restarting, old)), Options{}, ""},
		{"a fleet that has ended", containers(exited, container("x-a", "x", fleet.Member, fleet.Running, old)), Options{},
			"remove  container  ci-b  1  (it is exited, like all runners of fleet ci)\n"},
		{"its volume goes with it", Inventory{Containers: []Container{exited}, Volumes: []Volume{data("ci-b", fleet.Member)}}, Options{},
			"remove  container  ci-b  11  (it is exited, like all runners of fleet ci)\n"},
		{"a volume without a runner", Inventory{Containers: []Container{running}, Volumes: []Volume{data("ci-a", fleet.Member), data("ci-z", fleet.Member)}}, Options{},
			"remove  volume     ci-z-data  10  (runner ci-z is gone)\n"},
		{"a proof without its image", Inventory{
			Images:  []Image{image("1", 1, "r/r:1"), image("2", 2, "r/r:2")},
			Volumes: []Volume{{Name: "p1", Role: fleet.Proof, Image: "sha256:1"}, {Name: "p2", Role: fleet.Proof, Image: "sha256:2"}, {Name: "p3", Role: fleet.Proof, Image: "sha256:3"}},
		}, Options{}, "remove  image      r/r:1  100  (neither a container nor up uses it)\nremove  volume     p1  0  (its image is gone)\nremove  volume     p3  0  (its image is gone)\n"},
		{"images for new daemons", Inventory{
			Images:  []Image{image("2", 2, "r/r:2")},
			Volumes: []Volume{preload("p1", "2"), {Name: "p1", Role: fleet.Preload, Image: "sha256:2"}},
		}, Options{}, ""},
		{"the same without the runners' image", Inventory{
			Volumes: []Volume{preload("p1", "1"), {Name: "p1", Role: fleet.Preload, Image: "sha256:1"}},
		}, Options{}, "remove  volume     p1-data  10  (its image is gone)\nremove  volume     p1  0  (its image is gone)\n"},
		{"the same, not complete", Inventory{
			Images: []Image{image("2", 2, "r/r:2")}, Volumes: []Volume{preload("p1", "2"), preload("p2", "2"), preload("p3", "2")},
			Containers: []Container{container("p2", "ci", fleet.Preload, fleet.Running, old), hold("p2", fleet.Running, old), container("p3", "ci", fleet.Preload, fleet.Running, old)},
		}, Options{}, "remove  container  p3  11  (its runnerctl is gone)\nremove  volume     p1-data  10  (runner p1 is gone)\n"},
		{"a volume that names no runner", Inventory{Volumes: []Volume{{Name: "v", Role: fleet.Member}}}, Options{}, ""},
		{"a fleet that is being changed", Inventory{
			Containers: []Container{exited, container("runnerctl-lock-ci", "ci", fleet.Lock, fleet.Running, old)},
			Volumes:    []Volume{data("ci-z", fleet.Member)},
		}, Options{}, "skip    fleet ci  (another runnerctl is changing it)\n"},
		{"a lock that is just being made", containers(exited, container("runnerctl-lock-ci", "ci", fleet.Lock, "created", fresh)), Options{},
			"skip    fleet ci  (another runnerctl is changing it)\n"},
		{"a stale lock", containers(running, container("runnerctl-lock-ci", "ci", fleet.Lock, "created", old)), Options{},
			"remove  container  runnerctl-lock-ci  1  (stale lock)\n"},
		{"a run at work", Inventory{
			Containers: []Container{container("ci-run-1", "ci", fleet.ThrowAway, fleet.Running, old), hold("ci-run-1", fleet.Running, old)},
			Volumes:    []Volume{data("ci-run-1", fleet.ThrowAway)},
		}, Options{}, ""},
		{"a run that has no container yet", Inventory{Containers: []Container{hold("ci-run-1", "created", fresh)}, Volumes: []Volume{data("ci-run-1", fleet.ThrowAway)}}, Options{}, ""},
		{"a run that was killed", Inventory{
			Containers: []Container{container("ci-run-1", "ci", fleet.ThrowAway, fleet.Running, old)},
			Volumes:    []Volume{data("ci-run-1", fleet.ThrowAway), data("ci-run-2", fleet.ThrowAway)},
		}, Options{}, "remove  container  ci-run-1  11  (its runnerctl run is gone)\nremove  volume     ci-run-2-data  10  (runner ci-run-2 is gone)\n"},
		{"a lock does not keep what a killed run left", containers(container("ci-run-1", "ci", fleet.ThrowAway, fleet.Running, old), container("runnerctl-lock-ci", "ci", fleet.Lock, fleet.Running, old)), Options{},
			"remove  container  ci-run-1  1  (its runnerctl run is gone)\n"},
		{"a stale probe", containers(container("runnerctl-probe-1", "ci", fleet.Probe, "exited", old), container("runnerctl-probe-2", "ci", fleet.Probe, "created", fresh)), Options{},
			"remove  container  runnerctl-probe-1  1  (stale probe)\n"},
		{"a probe's image", Inventory{Probes: []Image{image("p", 1, "runnerctl/probe:a"), {ID: "sha256:q", Tags: []string{"runnerctl/probe:b"}, Created: fresh}}}, Options{},
			"remove  image      runnerctl/probe:a  100  (its runnerctl doctor is gone)\n"},
		{"a kept one stays", containers(container("ci-run-1", "ci", fleet.Kept, fleet.Running, old)), Options{}, ""},
		{"unless asked for", containers(container("ci-run-1", "ci", fleet.Kept, fleet.Running, old)), Options{Kept: true},
			"remove  container  ci-run-1  1  (left by run --keep)\n"},
		{"and not while its run is at work", containers(container("ci-run-1", "ci", fleet.Kept, fleet.Running, old), hold("ci-run-1", fleet.Running, old)), Options{Kept: true}, ""},
		{"roles of later versions stay", containers(container("ci-s", "ci", "later", "exited", old)), Options{}, ""},
		{"a supervisor's fleet lives, whatever its runners do", Inventory{
			Containers:  []Container{exited, container("runnerctl-supervisor-ci", "ci", fleet.Supervisor, fleet.Restarting, old)},
			Volumes:     state("ci"),
			Supervisors: []Image{image("s", 1, "runnerctl/supervisor:a")}, InUse: map[string][]string{"sha256:s": {"runnerctl-supervisor-ci"}},
		}, Options{}, ""},
		{"one that is just being made", Inventory{Containers: []Container{container("runnerctl-supervisor-ci", "ci", fleet.Supervisor, "created", fresh)}, Volumes: state("ci")}, Options{}, ""},
		{"one that was stopped by hand stays while a runner runs", containers(running, container("runnerctl-supervisor-ci", "ci", fleet.Supervisor, "exited", old)), Options{}, ""},
		{"a supervised fleet that has ended", Inventory{
			Containers:  []Container{container("runnerctl-supervisor-ci", "ci", fleet.Supervisor, "exited", old)},
			Volumes:     state("ci"),
			Supervisors: []Image{image("s", 1, "runnerctl/supervisor:a"), {ID: "sha256:t", Tags: []string{"runnerctl/supervisor:b"}, Created: fresh}}, InUse: map[string][]string{"sha256:s": {"runnerctl-supervisor-ci"}},
		}, Options{}, "remove  container  runnerctl-supervisor-ci  1  (it is exited, like all runners of fleet ci)\n" +
			"remove  volume     runnerctl-state-ci  10  (fleet ci has no running runner)\nremove  volume     runnerctl-credential-ci  10  (fleet ci has no running runner)\n" +
			"remove  image      runnerctl/supervisor:a  100  (no supervisor uses it)\n"},
		{"the state of a fleet that is being changed", Inventory{Containers: []Container{container("runnerctl-lock-ci", "ci", fleet.Lock, fleet.Running, old)}, Volumes: state("ci")}, Options{},
			"skip    fleet ci  (another runnerctl is changing it)\n"},
		{"all but the image that up would use", Inventory{Images: []Image{image("a", 1, "r/r:a"), image("b", 2, "r/r:b")}}, Options{Current: "sha256:a"},
			"remove  image      r/r:b  100  (neither a container nor up uses it)\n"},
		{"all but the newest image, where that is not built", Inventory{Images: []Image{image("a", 1, "r/r:a"), image("b", 2, "r/r:b")}}, Options{},
			"remove  image      r/r:a  100  (neither a container nor up uses it)\n"},
		{"images in use, by whomever", Inventory{Images: []Image{image("a", 1, "r/r:a"), image("b", 2)}, InUse: map[string][]string{"sha256:a": {"somebody"}}}, Options{Current: "sha256:b"}, ""},
		{"images of what goes", Inventory{Containers: []Container{exited}, Images: []Image{image("a", 1), image("b", 2)}, InUse: map[string][]string{"sha256:a": {"ci-b"}}}, Options{Current: "sha256:b"},
			"remove  container  ci-b  1  (it is exited, like all runners of fleet ci)\nremove  image      a  100  (neither a container nor up uses it)\n"},
		{"images with a name of somebody's own", Inventory{Images: []Image{image("a", 1, "acme/ci:1"), image("b", 2, "r/r:b", "acme/ci:2"), image("c", 3, "r/r-own:c")}}, Options{Current: "sha256:z"}, ""},
		{"images only", Inventory{Containers: []Container{exited}, Images: []Image{image("a", 1), image("b", 2)}, InUse: map[string][]string{"sha256:a": {"ci-b"}}}, Options{ImagesOnly: true, Current: "sha256:b"}, ""},
		{"one fleet after the other, images last", Inventory{
			Containers: []Container{container("b-1", "b", fleet.Member, "dead", old), container("a-1", "a", fleet.Member, "exited", old), container("b-2", "b", fleet.Member, "exited", old)},
			Images:     []Image{image("a", 1), image("b", 2)},
		}, Options{}, "remove  container  a-1  1  (it is exited, like all runners of fleet a)\n" +
			"remove  container  b-1  1  (it is dead, like all runners of fleet b)\nremove  container  b-2  1  (it is exited, like all runners of fleet b)\n" +
			"remove  image      a  100  (neither a container nor up uses it)\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.all.Now, test.options.Repository = now, "r/r"
			var text strings.Builder
			NewPlan(test.all, test.options).Write(&text, func(size int64) string { return fmt.Sprint(size) })
			if text.String() != test.want {
				t.Errorf("got\n%swant\n%s", text.String(), test.want)
			}
		})
	}
}

func TestLeftovers(t *testing.T) {
	all := Inventory{Containers: []Container{
		{Name: "ci-a", Fleet: "ci", Role: fleet.Member, State: "exited"},
		{Name: "ci-run-1", Fleet: "ci", Role: fleet.ThrowAway, State: fleet.Running},
		{Name: "ci-run-2", Fleet: "ci", Role: fleet.Kept, State: fleet.Running},
		{Name: "ci-run-3", Fleet: "ci", Role: fleet.Kept, State: fleet.Running},
		{Name: "hold", Role: fleet.Hold, Runner: "ci-run-3", State: fleet.Running},
		{Name: "probe", Role: fleet.Probe, State: "exited"},
	}, Now: time.Now()}
	var names []string
	for _, one := range Leftovers(all) {
		names = append(names, one.Name)
	}
	if got := strings.Join(names, " "); got != "ci-run-1 ci-run-2 probe" {
		t.Error(got)
	}
}
