//go:build linux

package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/golden"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
)

// byHand starts the runner image as a person would who leaves something out.
type byHand struct {
	api    *client.Client
	engine *dockerx.Engine
	config container.Config
	host   container.HostConfig
}

// handOf returns the flags of a runner that up made.
func handOf(t *testing.T, api *client.Client, runner string) byHand {
	t.Helper()
	info, err := api.ContainerInspect(t.Context(), runner)
	if err != nil {
		t.Fatal(err)
	}
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	hand := byHand{api: api, engine: engine, config: *info.Config, host: *info.HostConfig}
	hand.config.Labels, hand.config.Hostname = nil, ""
	hand.host.RestartPolicy = container.RestartPolicy{}
	// The volume is an anonymous one.
	hand.host.Mounts = slices.DeleteFunc(hand.host.Mounts, func(one mount.Mount) bool { return one.Type == mount.TypeVolume })
	return hand
}

// start makes a container and returns the runner, or the output of the container and the
// engine.
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
		return runner, err.Error() + "\n" + e2e.ContainerLog(t, h.api, made.ID)
	}
	return runner, ""
}

// steps runs the named deep steps in a runner and returns the output of the first that
// failed.
func (h byHand) steps(t *testing.T, pair selftest.Pair, ids ...string) string {
	t.Helper()
	scripts, err := selftest.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if !slices.Contains(ids, script.ID) {
			continue
		}
		step, err := selftest.RunScript(t.Context(), h.engine, pair, script, "")
		if err != nil {
			t.Fatal(err)
		}
		if step.Status != doctor.Pass {
			return step.Error
		}
	}
	return ""
}

// fault is a fault that users meet. If its cause has a dot and is no known error, it names a
// check of doctor.
type fault struct{ name, by, cause string }

const (
	byStart  = "the runner's start"
	byBuild  = "the build"
	byCheck  = "`doctor`"
	byImage  = "`doctor --image`"
	byPacket = "`doctor --deep`, large packets"
	byDriver = "`doctor --deep`, storage driver"
	byInner  = "`doctor --deep`, docker run with the privileged flag"
	byMap    = "newuidmap, called as rootlesskit does"
)

var faults = []fault{
	{"no `--device /dev/net/tun`", byStart, "tun.flag"},
	{"default seccomp profile", byStart, "seccomp"},
	{"masked /proc", byStart, "proc.masked"},
	{"`no-new-privileges`", byStart, "no-new-privileges"},
	{"no capabilities", byStart, "capabilities"},
	{"`user.max_user_namespaces=0`", byStart, "userns.max"},
	{"an outbound MTU that is smaller than the inner bridge's", byPacket, "mtu"},
	{"inner addresses that are the outer network's", byPacket, "pool.collision"},
	{"no read-write /sys", byInner, "sysfs"},
	{"setuid newuidmap instead of its capability", byStart, "newuidmap"},
	{"no pasta and no slirp4netns in the outer tree", byStart, "network.driver"},
	{"no iptables in the job root filesystem", byStart, "iptables"},
	{"two subordinate ranges that overlap, in an image", byImage, "image.subids"},
	{"two subordinate ranges that overlap", byMap, "subid.overlap"},
	{"a setuid file in the outer tree", byBuild, "setuid"},
	{"a setuid file in the outer tree of an image", byImage, "image.setuid"},
	{"the same subordinate range twice, in the outer tree", byBuild, "subid.overlap"},
	{"/dev/net/tun of mode 0600", byCheck, "devices.tun"},
	{"no /dev/net/tun", byCheck, "devices.tun"},
	{"a bridge with a larger MTU than the host's uplink", byCheck, "network.mtu"},
	{"the daemon's data on an overlay", byDriver, "storage.vfs"},
	{"an engine that is down", byCheck, "engine.reachable"},
}

func faultCalled(t *testing.T, name string) fault {
	t.Helper()
	i := slices.IndexFunc(faults, func(one fault) bool { return one.name == name })
	if i < 0 {
		t.Fatalf("the table has no %q", name)
	}
	return faults[i]
}

// docs/faults.md is generated from the table.
func TestFaultsPage(t *testing.T) {
	var text strings.Builder
	text.WriteString("# Faults and their causes\n\nTests reproduce each fault on a real engine, expect this cause and no other, and check that the fix removes it (`internal/e2e/doctor/causes_test.go`; `make test` runs\n" +
		"some of the container's faults, `make test-long` all of them). The fix that a check prints depends on the machine: [doctor.md](doctor.md). (Written by a test; `make golden` rewrites it.)\n\n")
	text.WriteString(e2e.TableRow("fault", "reported by", "cause", "fix") + "|---|---|---|---|\n")
	for _, one := range faults {
		if known := doctor.KnownAs(one.cause); known != nil {
			text.WriteString(e2e.TableRow(one.name, one.by, known.Cause, known.Cure))
			continue
		}
		checks, unknown := doctor.Select(append(doctor.Catalogue(), doctor.ImageCatalogue()...), []string{one.cause})
		if unknown != "" {
			t.Errorf("%s: neither a known error nor a check", one.cause)
			continue
		}
		text.WriteString(e2e.TableRow(one.name, one.by+", check `"+one.cause+"`", checks[0].Why, "the check prints it"))
	}
	golden.Check(t, e2e.InRepository("docs/faults.md"), []byte(text.String()))
}

// named fails unless said leads to the fault's cause and no other.
func named(t *testing.T, name, said string) {
	t.Helper()
	want := faultCalled(t, name).cause
	if found := doctor.Matching(said); len(found) != 1 || found[0].ID != want {
		t.Errorf("%s: found %+v, want %s alone, in: %s", name, found, want, said)
	}
}

// complaints returns the checks in which doctor finds a fault, including warnings, and the
// remedies that it names.
func complaints(t *testing.T, args ...string) (ids []string, remedies map[string]doctor.Remedy) {
	t.Helper()
	_, stdout, stderr := e2e.Runnerctl(t.Context(), append([]string{"doctor", "--offline", "-o", "json"}, args...)...)
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	remedies = map[string]doctor.Remedy{}
	for _, result := range report.Checks {
		if result.Status != doctor.Pass && result.Status != doctor.Skip {
			ids = append(ids, result.ID)
			remedies[result.ID] = result.Remedy
		}
	}
	return ids, remedies
}

// checked fails unless doctor finds this fault and no other, apart from those found before.
// It returns the remedy.
func checked(t *testing.T, name string, before []string, args ...string) doctor.Remedy {
	t.Helper()
	want := faultCalled(t, name).cause
	ids, remedies := complaints(t, args...)
	if ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(before, id) }); !slices.Equal(ids, []string{want}) {
		t.Errorf("%s: found %q, want %s alone", name, ids, want)
	}
	return remedies[want]
}

// asTold changes a container's flags as the message of its start says.
func asTold(t *testing.T, said string, hand byHand, host *container.HostConfig) {
	t.Helper()
	_, missing, found := strings.Cut(said, "start: missing: ")
	if !found {
		t.Fatalf("got %s, want %q", said, "start: missing: ")
	}
	missing, _, _ = strings.Cut(missing, "\n")
	words := strings.Fields(strings.ReplaceAll(missing, ",", ""))
	for i, word := range words[:len(words)-1] {
		switch value := words[i+1]; {
		case word == "--device":
			host.Devices = append(host.Devices, container.DeviceMapping{PathOnHost: value, PathInContainer: value, CgroupPermissions: "rwm"})
		case word == "--cap-add":
			host.CapAdd = append(host.CapAdd, value)
		case word == "--security-opt" && value == "systempaths=unconfined": // as the CLI spells it
			host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
		case word == "--security-opt" && i > 0 && words[i-1] == "without":
			host.SecurityOpt = without(host.SecurityOpt, value)
		case word == "--security-opt" && value == "seccomp=PROFILE":
			host.SecurityOpt = append(host.SecurityOpt, hand.host.SecurityOpt[slices.IndexFunc(hand.host.SecurityOpt, func(one string) bool { return strings.HasPrefix(one, "seccomp=") })])
		case word == "--security-opt":
			host.SecurityOpt = append(without(host.SecurityOpt, value), value)
		}
	}
}

func without(list []string, prefix string) []string {
	return slices.DeleteFunc(list, func(one string) bool { return strings.HasPrefix(one, prefix) })
}

// setBip changes the addresses of the inner daemon's bridge.
func setBip(t *testing.T, config *container.Config, bip string) {
	t.Helper()
	const key = machine.EnvSettings + "="
	at := slices.IndexFunc(config.Env, func(pair string) bool { return strings.HasPrefix(pair, key) })
	var settings machine.Settings
	if err := json.Unmarshal([]byte(strings.TrimPrefix(config.Env[at], key)), &settings); err != nil {
		t.Fatal(err)
	}
	settings.Docker.Bip = bip
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	config.Env[at] = key + string(text)
}

// Each fault is named when it occurs alone, and its fix removes it. Faults of the flags are
// made by starting the image by hand, those of the image by changing it, and those of a
// machine on a private engine.
func TestEachFaultIsNamed(t *testing.T) {
	t.Run("container", faultsOfTheContainer)
	if !e2e.Thorough {
		return
	}
	t.Run("image", faultsOfTheImage)
	t.Run("machine", faultsOfTheMachine)
}

func faultsOfTheContainer(t *testing.T) {
	api := e2e.Engine(t)
	unsharing := withUnshare(t, api, e2e.RunnerImage(t), "true")
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	neighbour := e2e.List(t, name)[0]
	hand := handOf(t, api, neighbour.ContainerID)
	healthy, said := hand.start(t, nil)
	if said != "" {
		t.Fatalf("a start with all flags says %s, want nothing", said)
	}
	pair := selftest.Pair{Tried: healthy, Neighbour: neighbour}

	t.Run("a flag is missing", func(t *testing.T) { faultsOfFlags(t, hand) })
	t.Run("no further user namespace is allowed", func(t *testing.T) { namespacesUsedUp(t, hand, unsharing) })
	e2e.Step(t, "the MTU is too large for the way out", func(t *testing.T) {
		asRoot(t, hand, healthy, "ip link set tap0 mtu 1400")
		named(t, "an outbound MTU that is smaller than the inner bridge's", hand.steps(t, pair, "run", "mtu"))
		asRoot(t, hand, healthy, "ip link set tap0 mtu $(cat /sys/class/net/docker0/mtu)")
		if said := hand.steps(t, pair, "mtu"); said != "" {
			t.Errorf("with the MTU mended, the step says %s, want nothing", said)
		}
	})
	if !e2e.Thorough {
		return
	}
	t.Run("each other step fails if its own part is broken", func(t *testing.T) { brokenSteps(t, hand, pair) })
	t.Run("sysfs can't be written", func(t *testing.T) {
		runner, said := hand.start(t, func(_ *container.Config, host *container.HostConfig) {
			host.Mounts = slices.DeleteFunc(host.Mounts, func(one mount.Mount) bool { return one.Source == "/sys" })
		})
		if said != "" {
			t.Fatalf("the start says %s, want nothing", said)
		}
		named(t, "no read-write /sys", hand.steps(t, selftest.Pair{Tried: runner, Neighbour: neighbour}, "run", "privileged"))
	})
	t.Run("inner and outer addresses are the same", func(t *testing.T) {
		_, gateway, err := hand.engine.Addresses(t.Context(), neighbour)
		if err != nil {
			t.Fatal(err)
		}
		runner, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) {
			setBip(t, config, gateway.String()+"/16")
		})
		if said != "" {
			t.Fatalf("the start says %s, want nothing", said)
		}
		named(t, "inner addresses that are the outer network's", hand.steps(t, selftest.Pair{Tried: runner, Neighbour: neighbour}, "run", "mtu"))
	})
}

// withUnshare makes a runner image whose outer tree has the program unshare and a change.
func withUnshare(t *testing.T, api *client.Client, tag, change string) (image string) {
	t.Helper()
	sum := sha256.Sum256([]byte(change))
	image = "runnerctl-test/unshare:" + hex.EncodeToString(sum[:])[:12]
	dockerfile := "FROM debian:trixie-slim AS tools\nFROM " + tag + "\nUSER root\nCOPY --from=tools /usr/bin/unshare /usr/bin/\nRUN " + change + "\nUSER 1001:1001\n"
	if err := e2e.BuildImage(t, api, image, dockerfile); err != nil {
		t.Fatal(err)
	}
	return image
}

// asRoot runs a script in a runner as its root.
func asRoot(t *testing.T, hand byHand, runner fleet.Runner, script string) {
	t.Helper()
	if code, err := hand.engine.Exec(t.Context(), runner, dockerx.Command{Args: []string{"sh", "-c", script}, Root: true, Stdout: os.Stderr, Stderr: os.Stderr}); err != nil || code != 0 {
		t.Fatalf("%s: exit code %d, want 0 (%v)", script, code, err)
	}
}

// faultsOfFlags starts runners without one of their flags, and then as the message says.
func faultsOfFlags(t *testing.T, hand byHand) {
	for i, fault := range []struct {
		name   string
		change func(*container.Config, *container.HostConfig)
	}{
		{"no `--device /dev/net/tun`", func(_ *container.Config, host *container.HostConfig) { host.Devices = nil }},
		{"default seccomp profile", func(_ *container.Config, host *container.HostConfig) {
			host.SecurityOpt = without(host.SecurityOpt, "seccomp=")
		}},
		{"masked /proc", func(_ *container.Config, host *container.HostConfig) {
			host.MaskedPaths, host.ReadonlyPaths = nil, nil // the engine's defaults
		}},
		{"`no-new-privileges`", func(_ *container.Config, host *container.HostConfig) {
			host.SecurityOpt = append(host.SecurityOpt, "no-new-privileges")
		}},
		{"no capabilities", func(_ *container.Config, host *container.HostConfig) { host.CapAdd = nil }},
	} {
		if i > 0 && !e2e.Thorough { // TestMissingPartOfTheRecipeIsNamed covers them all
			break
		}
		_, said := hand.start(t, fault.change)
		named(t, fault.name, said)
		if _, after := hand.start(t, func(config *container.Config, host *container.HostConfig) {
			fault.change(config, host)
			asTold(t, said, hand, host)
		}); after != "" {
			t.Errorf("%s: a start with the flags that the message names says %s, want nothing", fault.name, after)
		}
	}
}

// namespacesUsedUp starts a runner in a user namespace in which no further one may be made.
func namespacesUsedUp(t *testing.T, hand byHand, unsharing string) {
	nested := func(limit, then string) string {
		_, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) {
			config.Image, config.Entrypoint = unsharing, []string{"unshare", "--user", "--map-root-user", "sh", "-c", "echo " + limit + " >/proc/sys/user/max_user_namespaces; " + then}
		})
		return said
	}
	said := nested("0", "exec /usr/lib/runnerctl/machine")
	named(t, "`user.max_user_namespaces=0`", said)
	_, printed, _ := strings.Cut(said, "sysctl -w user.max_user_namespaces=")
	if said := nested(strings.Fields(printed)[0], "unshare --user echo made"); !strings.Contains(said, "made") {
		t.Errorf("with the limit lifted: %s, want %q", said, "made")
	}
}

// brokenSteps breaks a part of a runner for each deep step, and fixes it.
func brokenSteps(t *testing.T, hand byHand, pair selftest.Pair) {
	for _, broken := range []struct{ step, breaking, mending string }{
		{"run", "for f in /usr/*bin/runc; do mv $f $f.away; done", "for f in /usr/*bin/runc.away; do mv $f ${f%.away}; done"},
		{"build", "for f in /usr/*/docker/cli-plugins/docker-buildx; do mv $f $f.away; done", "for f in /usr/*/docker/cli-plugins/docker-buildx.away; do mv $f ${f%.away}; done"},
		{"port", "ip link set lo down", "ip link set lo up"},
		{"sudo", "chmod u-s /usr/bin/sudo", "chmod u+s /usr/bin/sudo"},
		{"job-container", "chmod 0600 /run/docker.sock", "chmod 0660 /run/docker.sock"},
	} {
		asRoot(t, hand, pair.Tried, broken.breaking)
		if said := hand.steps(t, pair, broken.step); said == "" {
			t.Errorf("step %s passes after %s, want it to fail", broken.step, broken.breaking)
		}
		asRoot(t, hand, pair.Tried, broken.mending)
		if said := hand.steps(t, pair, broken.step); said != "" {
			t.Errorf("step %s after %s says %s, want nothing", broken.step, broken.mending, said)
		}
	}
}

func faultsOfTheImage(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	hand := handOf(t, api, e2e.List(t, name)[0].ContainerID)

	e2e.Step(t, "a runner does not start", func(t *testing.T) { startsOfFaultyImages(t, hand, tag) })
	before, _ := complaints(t, "--image", tag)
	t.Run("newuidmap is setuid", func(t *testing.T) {
		const faulty = "runnerctl-test/fault:newuidmap"
		if err := e2e.BuildImage(t, api, faulty, "FROM "+tag+"\nUSER root\nRUN "+setuidNewuidmap+"\nUSER 1001:1001\n"); err != nil {
			t.Fatal(err)
		}
		_, remedies := complaints(t, "--image", faulty)
		mended := cured(t, api, before, faulty, dockerfileLine{remedies["image.newuidmap"].Text, "in the Dockerfile: RUN ", " cap_setgid+ep /usr/bin/newgidmap"})
		if _, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) { config.Image = mended }); said != "" {
			t.Errorf("a start with newuidmap mended as printed says %s, want nothing", said)
		}
	})
	t.Run("another file is setuid", func(t *testing.T) {
		setuid := "runnerctl-test/fault:setuid"
		if err := e2e.BuildImage(t, api, setuid, "FROM "+tag+"\nUSER root\nRUN chmod u+s /usr/bin/cat\nUSER 1001:1001\n"); err != nil {
			t.Fatal(err)
		}
		checked(t, "a setuid file in the outer tree of an image", before, "--image", setuid)
	})
	t.Run("subordinate ranges overlap", func(t *testing.T) { overlappingRanges(t, hand, tag, before) })
	t.Run("the build refuses it", func(t *testing.T) { refusedByTheBuild(t, api, tag) })
}

// startsOfFaultyImages makes the images runnerctl-test/fault:0 to 2 and starts each.
// setuidNewuidmap gives newuidmap and newgidmap root's rights in place of their capabilities.
const setuidNewuidmap = "for f in newuidmap newgidmap; do setcap -r /usr/bin/$f && chmod u+s /usr/bin/$f; done"

func startsOfFaultyImages(t *testing.T, hand byHand, tag string) {
	for i, fault := range []struct{ name, change string }{
		{"setuid newuidmap instead of its capability", setuidNewuidmap},
		{"no pasta and no slirp4netns in the outer tree", "rm /usr/bin/slirp4netns /usr/bin/pasta*"},
		{"no iptables in the job root filesystem", "rm -f /rootfs/usr/sbin/*tables*"},
	} {
		changed := fmt.Sprintf("runnerctl-test/fault:%d", i)
		if err := e2e.BuildImage(t, hand.api, changed, "FROM "+tag+"\nUSER root\nRUN "+fault.change+"\nUSER 1001:1001\n"); err != nil {
			t.Fatal(err)
		}
		_, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) { config.Image = changed })
		named(t, fault.name, said)
	}
}

// dockerfileLine is a line for a Dockerfile within a text of doctor, by its neighbours in the text.
// The end belongs to the line.
type dockerfileLine struct{ text, from, to string }

// cured makes an image that is fixed by a Dockerfile line which doctor prints, and checks
// that doctor complains of it no more than before.
func cured(t *testing.T, api *client.Client, before []string, image string, in dockerfileLine) string {
	t.Helper()
	_, line, _ := strings.Cut(in.text, in.from)
	line, _, found := strings.Cut(line, in.to)
	if !found {
		t.Fatalf("no line for a Dockerfile between %q and %q in: %s", in.from, in.to, in.text)
	}
	line = strings.ReplaceAll(line, "NAME", "runner") + in.to
	if err := e2e.BuildImage(t, api, image+"-cured", "FROM "+image+"\nUSER root\nRUN "+line+"\nUSER 1001:1001\n"); err != nil {
		t.Fatal(err)
	}
	if after, _ := complaints(t, "--image", image+"-cured"); !slices.Equal(after, before) {
		t.Errorf("%s after %s: got %q, want %q", image, line, after, before)
	}
	return image + "-cured"
}

func overlappingRanges(t *testing.T, hand byHand, tag string, before []string) {
	overlap := withUnshare(t, hand.api, tag, "echo runner:150000:65536 >>/etc/subuid")
	remedy := checked(t, "two subordinate ranges that overlap, in an image", before, "--image", overlap)
	cured(t, hand.api, before, overlap, dockerfileLine{remedy.Text, "one line each: ", " >/etc/subuid"})
	newuidmap := func(more string) string {
		_, said := hand.start(t, func(config *container.Config, _ *container.HostConfig) {
			config.Image, config.Entrypoint = overlap, []string{"sh", "-c", "unshare --user sleep 5 & sleep 1; newuidmap $! 0 1001 1 1 100000 65536 " + more + " && echo mapped"}
		})
		return said
	}
	named(t, "two subordinate ranges that overlap", newuidmap("65537 150000 65536"))
	if said := newuidmap(""); !strings.Contains(said, "mapped") {
		t.Errorf("with one range: %s, want %q", said, "mapped")
	}
}

// refusedByTheBuild builds images that end with the same assertion as the runner image.
func refusedByTheBuild(t *testing.T, api *client.Client, tag string) {
	for _, fault := range []struct{ name, change string }{
		{"a setuid file in the outer tree", "chmod u+s /usr/bin/cat"},
		{"the same subordinate range twice, in the outer tree", "echo runner:100000:65536 >>/etc/subuid"},
	} {
		err := e2e.BuildImage(t, api, "runnerctl-test/fault:refused", "FROM "+tag+"\nUSER root\nRUN "+fault.change+"\nRUN /usr/lib/runnerctl/assert 100000:65536\n")
		if err == nil {
			t.Fatalf("an image with %s was built, want an error", fault.name)
		}
		named(t, fault.name, hint.Text(err))
	}
	if err := e2e.BuildImage(t, api, "runnerctl-test/fault:none", "FROM "+tag+"\nUSER root\nRUN /usr/lib/runnerctl/assert 100000:65536\n"); err != nil {
		t.Errorf("without a fault: %v, want no error", err)
	}
}

func faultsOfTheMachine(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 3000, From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", engine.Host)
	t.Chdir(t.TempDir())
	// Fixes keep their settings over a restart in these folders; here they belong to this
	// engine alone.
	private := "for folder in /etc/tmpfiles.d /etc/modules-load.d; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done"
	engine.Inside(t, private)
	before, _ := complaints(t)
	e2e.Must(t, "up", "--progress", "quiet")
	hand := handOf(t, engine.API, e2e.List(t, "ci")[0].ContainerID)
	e2e.Must(t, "down")

	e2e.Step(t, "the tun device can't be used", func(t *testing.T) { tunIsFixed(t, engine, before) })
	e2e.Step(t, "the bridge's MTU is larger than the uplink's", func(t *testing.T) {
		// A sysfs shows the devices of the network in which it was mounted.
		engine.Inside(t, "mkdir $DIR/groups; mount --rbind /sys/fs/cgroup $DIR/groups; mount -t sysfs sysfs /sys; mount --rbind $DIR/groups /sys/fs/cgroup")
		engine.Inside(t, "ip link add up0 mtu 1400 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip address add 192.0.2.1/24 dev up0; ip route add default dev up0")
		checked(t, "a bridge with a larger MTU than the host's uplink", before)
		engine.Inside(t, "ip link set up0 mtu 1500")
		if after, _ := complaints(t); !slices.Equal(after, before) {
			t.Errorf("with the uplink's MTU mended: got %q, want %q", after, before)
		}
		engine.Inside(t, "ip link del up0; umount -l /sys; umount -l $DIR/groups")
	})
	e2e.Step(t, "the daemon's data are on an overlay", func(t *testing.T) { dataOnAnOverlay(t, engine, hand) })
	t.Run("the engine is down", func(t *testing.T) {
		engine.Kill()
		checked(t, "an engine that is down", before)
		engine.Run(t)
		e2e.Must(t, "doctor", "--offline")
	})
}

// tunIsFixed breaks the engine's /dev/net/tun, and fixes it with the fix that doctor prints.
func tunIsFixed(t *testing.T, engine *enginetest.Engine, before []string) {
	for _, fault := range []struct{ name, making, unmaking string }{
		{"/dev/net/tun of mode 0600", "chmod 0600 /dev/net/tun", "true"},
		{"no /dev/net/tun", "mount -t tmpfs tmpfs /dev/net", "umount /dev/net"},
	} {
		engine.Inside(t, fault.making)
		fix := checked(t, fault.name, before)
		if code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet"); code != commands.ExitFailure || !strings.Contains(stderr, "/dev/net/tun") {
			t.Errorf("up with %s: exit code %d, want %d; stderr:\n%s\nwant %q", fault.name, code, commands.ExitFailure, stderr, "/dev/net/tun")
		}
		engine.Inside(t, strings.Join(fix.Commands, "\n")) // exactly as printed
		e2e.Must(t, "up", "--progress", "quiet")
		e2e.Must(t, "down")
		engine.Inside(t, fault.unmaking)
	}
}

// dataOnAnOverlay starts runners whose daemon has its data on an overlay, and on a folder.
func dataOnAnOverlay(t *testing.T, engine *enginetest.Engine, hand byHand) {
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
		return hand.steps(t, selftest.Pair{Tried: runner}, "storage")
	}
	named(t, "the daemon's data on an overlay", on("over"))
	if said := on("plain"); said != "" {
		t.Errorf("on a real file system, the step says %s, want nothing", said)
	}
}
