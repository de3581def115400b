//go:build linux

package commands

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// byHand starts the runner image as somebody would who leaves something out.
type byHand struct {
	api    *client.Client
	engine *dockerx.Engine
	config container.Config
	host   container.HostConfig
}

// handOf takes the flags of a runner that up made.
func handOf(t *testing.T, api *client.Client, runner string) byHand {
	t.Helper()
	info, err := api.ContainerInspect(t.Context(), runner)
	if err != nil {
		t.Fatal(err)
	}
	engine, _, err := connect(deps{env: os.Getenv, goos: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	hand := byHand{api: api, engine: engine, config: *info.Config, host: *info.HostConfig}
	hand.config.Labels, hand.config.Hostname = nil, ""
	hand.host.RestartPolicy = container.RestartPolicy{}
	// The volume is one without a name.
	hand.host.Mounts = slices.DeleteFunc(hand.host.Mounts, func(one mount.Mount) bool { return one.Type == mount.TypeVolume })
	return hand
}

// start makes a container and returns it, or what it and the engine said.
func (h byHand) start(t *testing.T, change func(*container.Config, *container.HostConfig)) (runner fleet.Runner, said string) {
	t.Helper()
	config, host := h.config, h.host
	host.SecurityOpt, host.CapAdd, host.Mounts = slices.Clone(host.SecurityOpt), slices.Clone(host.CapAdd), slices.Clone(host.Mounts)
	config.Env = slices.Clone(config.Env)
	if change != nil {
		change(&config, &host)
	}
	made, err := h.api.ContainerCreate(t.Context(), &config, &host, nil, nil, "")
	if err != nil {
		return runner, err.Error()
	}
	t.Cleanup(func() {
		if err := h.api.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	})
	if err := h.api.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		return runner, err.Error()
	}
	runner = fleet.Runner{Name: made.ID[:12], ContainerID: made.ID}
	limited, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := h.engine.WaitReady(limited, runner); err != nil {
		return runner, err.Error() + "\n" + containerLog(t, h.api, made.ID)
	}
	return runner, ""
}

// steps lets a runner do those of the deep steps; what the first that failed said.
func (h byHand) steps(t *testing.T, pair deepPair, ids ...string) string {
	t.Helper()
	scripts, err := deepScripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if !slices.Contains(ids, script.id) {
			continue
		}
		step, err := deepStep(t.Context(), h.engine, pair, script, "")
		if err != nil {
			t.Fatal(err)
		}
		if step.Status != doctor.Pass {
			return step.Error
		}
	}
	return ""
}

// pageOfFaults gathers the rows of docs/faults.md.
type pageOfFaults struct{ rows []string }

// named fails unless said names this cause, and notes it.
func (p *pageOfFaults) named(t *testing.T, fault, by, said, cause string) {
	t.Helper()
	known := doctor.Explain(said)
	if known == nil || known.ID != cause {
		t.Errorf("%s: found %+v, want %s, in: %s", fault, known, cause, said)
		return
	}
	p.rows = append(p.rows, row(fault, by, known.Cause, known.Cure))
}

// checked fails unless doctor finds this fault and no other, and notes it.
func (p *pageOfFaults) checked(t *testing.T, fault, id string) {
	t.Helper()
	_, stdout, stderr := runnerctl(t.Context(), "doctor", "--offline", "-o", "json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	var failed []doctor.Result
	for _, result := range report.Checks {
		if result.Status == doctor.Fail || result.Status == doctor.Crash {
			failed = append(failed, result)
		}
	}
	if len(failed) != 1 || failed[0].ID != id {
		t.Errorf("%s: failed %+v, want %s", fault, failed, id)
		return
	}
	cure := append([]string{failed[0].Remedy.Text}, failed[0].Remedy.Commands...)
	p.rows = append(p.rows, row(fault, "`doctor`, check "+id, failed[0].Why, strings.Join(cure, "; ")))
}

func without(list []string, prefix string) []string {
	return slices.DeleteFunc(list, func(one string) bool { return strings.HasPrefix(one, prefix) })
}

func setEnv(config *container.Config, key, value string) {
	config.Env = append(without(config.Env, key+"="), key+"="+value)
}

// Each fault by itself is named, and gone with its fix. Those of the flags are made
// by starting the image by hand, those of the image by changing it, and those of a
// machine on a private engine.
func TestEachFaultIsNamed(t *testing.T) {
	docs, err := filepath.Abs("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	var found pageOfFaults
	t.Run("container", func(t *testing.T) { faultsOfTheContainer(t, &found) })
	if !everyFault {
		return
	}
	t.Run("image", func(t *testing.T) { faultsOfTheImage(t, &found) })
	t.Run("machine", func(t *testing.T) { faultsOfTheMachine(t, &found) })
	if t.Failed() {
		return
	}
	if len(found.rows) < 14 {
		t.Errorf("only %d faults", len(found.rows))
	}
	page(t, docs, "# Faults, and how they are named\n\nEach was made on a real engine, was named like this, and was gone with its fix (`commands/causes_test.go`, which writes this page).\n\n"+
		row("fault", "named by", "cause", "fix")+"|---|---|---|---|\n"+strings.Join(found.rows, ""))
}

func faultsOfTheContainer(t *testing.T, found *pageOfFaults) {
	api := realEngine(t)
	runnerImage(t)
	name := newFleet(t, api)
	must(t, up(name)...)
	neighbour := list(t, name)[0]
	hand := handOf(t, api, neighbour.ContainerID)

	// With all flags it works: the cure of each of these.
	healthy, said := hand.start(t, nil)
	if said != "" {
		t.Fatalf("with all flags: %s", said)
	}
	for _, fault := range []struct {
		name, cause string
		change      func(*container.Config, *container.HostConfig)
	}{
		{"no `--device /dev/net/tun`", "tun.flag", func(_ *container.Config, host *container.HostConfig) { host.Devices = nil }},
		{"default seccomp profile", "seccomp", func(_ *container.Config, host *container.HostConfig) {
			host.SecurityOpt = without(host.SecurityOpt, "seccomp=")
		}},
		{"masked /proc", "proc.masked", func(_ *container.Config, host *container.HostConfig) {
			host.MaskedPaths, host.ReadonlyPaths = nil, nil // the engine's defaults
		}},
		{"`no-new-privileges`", "no-new-privileges", func(_ *container.Config, host *container.HostConfig) {
			host.SecurityOpt = append(host.SecurityOpt, "no-new-privileges")
		}},
		{"no capabilities", "capabilities", func(_ *container.Config, host *container.HostConfig) { host.CapAdd = nil }},
	} {
		_, said := hand.start(t, fault.change)
		found.named(t, fault.name, "the runner's start", said, fault.cause)
	}

	// A user namespace in which no other may be made.
	nested := func(limit, then string) string {
		_, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) {
			config.Entrypoint = []string{"unshare", "--user", "--map-root-user", "sh", "-c", "echo " + limit + " >/proc/sys/user/max_user_namespaces; " + then}
		})
		return said
	}
	found.named(t, "`user.max_user_namespaces=0`", "the runner's start", nested("0", "exec /usr/lib/runnerctl/start"), "userns.max")
	if said := nested("28633", "unshare --user echo made"); !strings.Contains(said, "made") {
		t.Errorf("with the limit lifted: %s", said)
	}

	// What only shows at work.
	pair := deepPair{tried: healthy, neighbour: neighbour}
	inside := func(script string) {
		if code, err := hand.engine.Exec(t.Context(), healthy, dockerx.Command{Args: []string{"sh", "-c", script}, Root: true, Stdout: os.Stderr, Stderr: os.Stderr}); err != nil || code != 0 {
			t.Fatalf("%s: code %d, %v", script, code, err)
		}
	}
	inside("ip link set tap0 mtu 1400")
	found.named(t, "an MTU on the way out that is smaller than the bridge's", "`doctor --deep`, the way of large packets", hand.steps(t, pair, "run", "mtu"), "mtu")
	inside("ip link set tap0 mtu 65520")
	if said := hand.steps(t, pair, "mtu"); said != "" {
		t.Errorf("with the MTU mended: %s", said)
	}
	_, gateway, err := hand.engine.Addresses(t.Context(), neighbour)
	if err != nil {
		t.Fatal(err)
	}
	pair.tried, said = hand.start(t, func(config *container.Config, _ *container.HostConfig) {
		setEnv(config, "RUNNERCTL_BIP", gateway.String()+"/16")
	})
	if said != "" {
		t.Fatal(said)
	}
	found.named(t, "inner addresses that are the outer network's", "`doctor --deep`, the way of large packets", hand.steps(t, pair, "run", "mtu"), "pool.collision")
}

func faultsOfTheImage(t *testing.T, found *pageOfFaults) {
	api := realEngine(t)
	tag := runnerImage(t)
	name := newFleet(t, api)
	must(t, up(name)...)
	hand := handOf(t, api, list(t, name)[0].ContainerID)
	for _, fault := range []struct{ name, cause, change string }{
		{"setuid newuidmap instead of its capability", "newuidmap", "for f in newuidmap newgidmap; do setcap -r /usr/bin/$f && chmod u+s /usr/bin/$f; done"},
		{"no pasta and no slirp4netns in the outer tree", "network.driver", "rm /usr/bin/slirp4netns /usr/bin/pasta*"},
		{"no iptables in the world", "iptables", "rm -f /rootfs/usr/sbin/*tables*"},
	} {
		changed := "runnerctl-test/fault:" + fault.cause
		if err := buildImage(t, api, changed, "FROM "+tag+"\nUSER root\nRUN "+fault.change+"\nUSER 1001:1001\n"); err != nil {
			t.Fatal(err)
		}
		_, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) { config.Image = changed })
		found.named(t, fault.name, "the runner's start", said, fault.cause)
	}
	for _, fault := range []struct{ name, cause, change string }{
		{"a setuid file in the outer tree", "setuid", "chmod u+s /usr/bin/mount"},
		{"the same subordinate range twice, in the outer tree", "subid.overlap", "echo runner:100000:65536 >>/etc/subuid"},
	} {
		// What the build ends with.
		asserted := "FROM " + tag + "\nUSER root\nRUN " + fault.change + "\nRUN /usr/lib/runnerctl/assert 100000\n"
		err := buildImage(t, api, "runnerctl-test/fault:"+fault.cause, asserted)
		if err == nil {
			t.Fatalf("an image with %s was built", fault.name)
		}
		found.named(t, fault.name, "the build", told(err), fault.cause)
	}
	if err := buildImage(t, api, "runnerctl-test/fault:none", "FROM "+tag+"\nUSER root\nRUN /usr/lib/runnerctl/assert 100000\n"); err != nil {
		t.Errorf("without a fault: %v", err)
	}
}

func faultsOfTheMachine(t *testing.T, found *pageOfFaults) {
	machine := realEngine(t)
	tag := runnerImage(t)
	engine := enginetest.Start(t, enginetest.Options{TunMode: 0o600, DiskMiB: 3000})
	engine.CopyImage(t, machine, tag, "debian:trixie-slim")
	t.Setenv("DOCKER_HOST", engine.Host)
	t.Chdir(t.TempDir())
	refused := func() {
		if code, _, stderr := runnerctl(t.Context(), "up", "--progress", "quiet"); code != exitFailure || !strings.Contains(stderr, "/dev/net/tun") {
			t.Errorf("code %d: %s", code, stderr)
		}
	}
	found.checked(t, "/dev/net/tun of mode 0600", "devices.tun")
	refused()
	engine.Inside(t, "chmod 0666 /dev/net/tun")
	must(t, "up", "--progress", "quiet")
	hand := handOf(t, engine.API, list(t, "ci")[0].ContainerID)
	must(t, "down")

	engine.Inside(t, "mount -t tmpfs tmpfs /dev/net")
	found.checked(t, "no /dev/net/tun", "devices.tun")
	refused()
	engine.Inside(t, "umount /dev/net")
	must(t, "up", "--progress", "quiet")
	must(t, "down")

	folder := strings.TrimSpace(engine.Inside(t, `cd "$DIR"
mkdir data/lower data/upper data/work over plain data/plain
mount -t overlay overlay -o lowerdir=data/lower,upperdir=data/upper,workdir=data/work over
mount --bind data/plain plain
chown 1001:1001 over plain
pwd`))
	on := func(name string) string {
		runner, said := hand.start(t, func(_ *container.Config, host *container.HostConfig) {
			host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: filepath.Join(folder, name), Target: "/rootfs/var/lib/docker"})
		})
		if said != "" {
			return said
		}
		return hand.steps(t, deepPair{tried: runner}, "storage")
	}
	found.named(t, "the daemon's data on an overlay", "`doctor --deep`, storage driver", on("over"), "storage.vfs")
	if said := on("plain"); said != "" {
		t.Errorf("on a real file system: %s", said)
	}

	engine.Kill()
	found.checked(t, "an engine that is down", "engine.reachable")
	engine.Run(t)
	engine.Inside(t, "chmod 0666 /dev/net/tun") // a new one
	must(t, "doctor", "--offline")
}
