package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/runnerctl/runnerctl/dockerx"
	runtime "github.com/runnerctl/runnerctl/internal/machine"
)

var (
	//go:embed inside/run
	runScript string
	//go:embed inside/build
	buildScript string
	//go:embed inside/command
	commandScript string
	//go:embed images/runner.Dockerfile
	runnerDockerfile string
	//go:embed images/stock.Dockerfile
	stockDockerfile string
	//go:embed images/tools.Dockerfile
	toolsDockerfile string
	//go:embed images/true.Dockerfile
	trueDockerfile string
)

// amounts sets how many samples are taken.
type amounts struct {
	pairs1, pairs20, crowd int
	netRounds, netSeconds  int
	idleRounds, idleCount  int // after one round that fills caches of kernel and engine
	idleSettle, idleWatch  time.Duration
	firsts                 int
	runs, builds, execs    int
	limit                  time.Duration // for the whole run
	only                   []string      // names of parts; none: all
}

var (
	full  = amounts{pairs1: 7, pairs20: 3, crowd: 20, netRounds: 5, netSeconds: 10, idleRounds: 2, idleCount: 10, idleSettle: 10 * time.Second, idleWatch: 30 * time.Second, firsts: 20, runs: 15, builds: 5, execs: 15, limit: 45 * time.Minute}
	quick = amounts{pairs1: 3, pairs20: 1, crowd: 20, netRounds: 2, netSeconds: 2, idleRounds: 1, idleCount: 10, idleSettle: 5 * time.Second, idleWatch: 30 * time.Second, firsts: 5, runs: 3, builds: 1, execs: 5, limit: 15 * time.Minute}
)

// bench is one run of the benchmark.
type bench struct {
	*machine
	engine    *dockerx.Engine // builds the images
	socket    string          // path of the engine's socket
	runnerctl func(ctx context.Context, args ...string) (string, error)
	dir       string // working directory of runnerctl
	say       func(format string, args ...any)
	amounts   amounts
	results   *Results

	runnerImage, stockImage, toolsImage, trueImage string
	ours, onDemand, theirs                         contender
	client                                         *box // Docker's CLI of the contenders' version on the machine's own engine
}

// parts are the measurements, in their order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"start", (*bench).starts},
	{"crowd", (*bench).crowds},
	{"first", (*bench).firsts},
	{"docker", (*bench).docker},
	{"exec", (*bench).exec},
	{"network", (*bench).network},
	{"memory", (*bench).memory},
	{"idle", (*bench).idleTime},
}

func partNames() (names []string) {
	for _, part := range parts {
		names = append(names, part.name)
	}
	return names
}

func (b *bench) measure(ctx context.Context) error {
	if err := b.images(ctx); err != nil {
		return err
	}
	if err := b.models(ctx); err != nil {
		return err
	}
	for _, part := range parts {
		if len(b.amounts.only) > 0 && !slices.Contains(b.amounts.only, part.name) {
			continue
		}
		if err := part.measure(b, ctx); err != nil {
			return err
		}
	}
	return nil
}

// alternate calls do for all contenders. Even rounds start with ours, odd rounds with theirs.
func (b *bench) alternate(round int, do func(contender) error) error {
	order := []contender{b.ours, b.onDemand, b.theirs}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, one := range order {
		if err := do(one); err != nil {
			return err
		}
	}
	return nil
}

// images builds the runner image, the stock image and two small ones.
func (b *bench) images(ctx context.Context) error {
	b.say("images: the runner's, by runnerctl build")
	built, err := b.runnerctl(ctx, "build", "--bootstrap-base", "--progress", "plain")
	if err != nil {
		return err
	}
	ready, err := buildReady(ctx)
	if err != nil {
		return err
	}
	name := func(which string) string {
		return "runnerctl-bench/" + which + ":" + strings.TrimPrefix(b.run, "bench-")
	}
	b.runnerImage, b.stockImage, b.toolsImage, b.trueImage = name("runner"), name("stock"), name("tools"), name("true")
	for _, one := range []struct{ tag, dockerfile string }{{b.runnerImage, runnerDockerfile}, {b.stockImage, stockDockerfile}, {b.toolsImage, toolsDockerfile}, {b.trueImage, trueDockerfile}} {
		b.say("images: %s", one.tag)
		var file bytes.Buffer
		if err := template.Must(template.New("Dockerfile").Parse(one.dockerfile)).Execute(&file, struct{ Runner, Tools string }{strings.TrimSpace(built), b.toolsImage}); err != nil {
			return err
		}
		fmt.Fprintf(&file, "LABEL %s=%s\n", runLabel, b.run)
		var progress bytes.Buffer
		if err := b.engine.Build(ctx, dockerx.Context{"Dockerfile": file.Bytes(), "ready": ready}, dockerx.BuildOptions{Tag: one.tag, Progress: "plain", Out: &progress}); err != nil {
			return fmt.Errorf("%w\n%s", err, progress.String())
		}
	}
	return nil
}

// buildReady returns bench/ready as a program.
func buildReady(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ready")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./bench/ready")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build ./bench/ready: %w\n%s", err, said)
	}
	return os.ReadFile(path)
}

// models has runnerctl make a runner, and derives all contenders from it.
func (b *bench) models(ctx context.Context) error {
	model, err := b.up(ctx, b.run)
	if err != nil {
		return err
	}
	if b.ours, b.theirs, err = b.contenders(ctx, model.id, b.runnerImage, b.stockImage); err != nil {
		return fmt.Errorf("inspect %s: %w", model.id, err)
	}
	if b.onDemand, err = b.ours.onDemand(); err != nil {
		return err
	}
	if b.results.Machine.Inner, err = b.sh(ctx, model, nil, "docker version --format '{{.Server.Version}}'"); err != nil {
		return err
	}
	b.results.Machine.Inner = strings.TrimSpace(b.results.Machine.Inner)
	if err := b.down(ctx, b.run); err != nil {
		return err
	}
	b.client, err = b.helper(ctx, "client", container.Config{
		Image: b.stockImage, User: "0:0", Entrypoint: []string{"sleep", "infinity"}, Env: []string{"DOCKER_HOST=unix:///run/engine.sock", "HOME=/root"},
	}, container.HostConfig{
		NetworkMode: "none", Mounts: []mount.Mount{{Type: mount.TypeBind, Source: b.socket, Target: "/run/engine.sock"}},
	})
	if err != nil {
		return err
	}
	busy, err := b.busy(ctx)
	if err != nil {
		return err
	}
	b.results.Machine.Busy = round(busy)
	if busy > 0.1 {
		b.say("%.0f %% of the processors' time is used by others: the figures will be unreliable", 100*busy)
	}
	return nil
}

// busy returns the share of processor time that other programs use.
func (b *bench) busy(ctx context.Context) (float64, error) {
	if err := settle(ctx, 2*time.Second); err != nil {
		return 0, err
	}
	text, err := b.sh(ctx, b.client, nil, "head -n 1 /proc/stat; sleep 3; head -n 1 /proc/stat")
	if err != nil {
		return 0, err
	}
	return busyShare(text)
}

// busyShare calculates the busy share from two samples of the first line of /proc/stat.
func busyShare(text string) (float64, error) {
	var idle, all [2]float64
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 {
		return 0, fmt.Errorf("/proc/stat: %q", text)
	}
	for i, line := range lines {
		for j, field := range strings.Fields(line)[1:] {
			ticks, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			if j < 8 { // guest time is already included in user time
				all[i] += ticks
			}
			if j == 3 || j == 4 { // idle and iowait
				idle[i] += ticks
			}
		}
	}
	if all[1] == all[0] {
		return 0, fmt.Errorf("/proc/stat stands still: %q", text)
	}
	return 1 - (idle[1]-idle[0])/(all[1]-all[0]), nil
}

// up creates a fleet of one runner as a user would.
func (b *bench) up(ctx context.Context, fleet string, args ...string) (*box, error) {
	if _, err := b.runnerctl(ctx, append([]string{"up", "--fleet", fleet, "--count", "1", "--progress", "plain"}, args...)...); err != nil {
		return nil, err
	}
	text, err := b.runnerctl(ctx, "ps", "--fleet", fleet, "-o", "json")
	if err != nil {
		return nil, err
	}
	var runners []struct {
		ID string `json:"container_id"`
	}
	if err := json.Unmarshal([]byte(text), &runners); err != nil || len(runners) != 1 {
		return nil, fmt.Errorf("fleet %s: %d runners, want 1 (%w)", fleet, len(runners), err)
	}
	return &box{contender: contender{name: runner, enter: []string{enter}}, id: runners[0].ID}, nil
}

func (b *bench) down(ctx context.Context, fleet string) error {
	_, err := b.runnerctl(context.WithoutCancel(ctx), "down", "--fleet", fleet)
	return err
}

// settle waits so that the engine can finish earlier removals.
func settle(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (b *bench) starts(ctx context.Context) error {
	for round := range b.amounts.pairs1 {
		err := b.alternate(round, func(c contender) error {
			one, took, err := b.start(ctx, c, b.run+"-"+c.name, lookOne)
			if err != nil {
				return err
			}
			b.results.Add(start1, c.name, "s", took.ready.Seconds())
			b.results.Add(start1Engine, c.name, "s", took.engine.Seconds())
			b.results.Add(start1CPU, c.name, "s", took.cpu.Seconds())
			b.say("start of one, round %d/%d: %s %s", round+1, b.amounts.pairs1, c.name, took)
			if c.name == runner {
				if err := b.profile(ctx, *one, took.cpu); err != nil {
					return err
				}
			}
			if err := b.remove(ctx, one); err != nil {
				return err
			}
			return settle(ctx, 500*time.Millisecond)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) crowds(ctx context.Context) error {
	for round := range b.amounts.pairs20 {
		err := b.alternate(round, func(c contender) error {
			all, took, err := b.startMany(ctx, c, b.amounts.crowd)
			if err != nil {
				return err
			}
			b.results.Add(start20, c.name, "s", took.ready.Seconds())
			b.results.Add(start20Engine, c.name, "s", took.engine.Seconds())
			b.results.Add(start20CPU, c.name, "s", took.cpu.Seconds())
			b.say("start of %d at once, round %d/%d: %s %s", b.amounts.crowd, round+1, b.amounts.pairs20, c.name, took)
			if err := b.remove(ctx, all...); err != nil {
				return err
			}
			return settle(ctx, 2*time.Second)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// firsts measures the first use of Docker in runners whose daemon has not run.
func (b *bench) firsts(ctx context.Context) error {
	for round := range b.amounts.firsts {
		one, _, err := b.start(ctx, b.onDemand, b.run+"-first", lookOne)
		if err != nil {
			return err
		}
		if err := b.asleep(ctx, *one); err != nil {
			return err
		}
		took, err := b.timed(ctx, one, commandScript, "docker", "version")
		if err != nil {
			return err
		}
		b.results.Add(firstDocker, onDemand, "ms", took)
		b.say("%s %d/%d: %.0f ms", firstDocker, round+1, b.amounts.firsts, took)
		if err := b.remove(ctx, one); err != nil {
			return err
		}
		if err := settle(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// asleep returns an error if the daemon of a runner runs, or has run.
func (b *bench) asleep(ctx context.Context, one box) error {
	one.enter = nil // status is a program of the container, not of the machine in it
	text, err := b.sh(ctx, &one, nil, "/usr/lib/runnerctl/status")
	if err != nil {
		return err
	}
	var report runtime.Report
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return fmt.Errorf("status %q: %w", text, err)
	}
	if report.Asleep == 0 || report.Version != "" {
		return fmt.Errorf("the daemon was started before its first use: %s", text)
	}
	return nil
}

// timed runs a script that prints its time in microseconds, and returns it in milliseconds.
func (b *bench) timed(ctx context.Context, in *box, script string, args ...string) (float64, error) {
	text, err := b.sh(ctx, in, nil, script, args...)
	if err != nil {
		return 0, err
	}
	micros, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return micros / 1000, err
}

// opponent is a side of a comparison: a box and the arguments of the script.
type opponent struct {
	side string
	box  *box
	args []string
}

// compare times a script on two sides, alternating, after one warm-up run.
func (b *bench) compare(ctx context.Context, measure, script string, rounds int, sides [2]opponent) error {
	for round := range rounds + 1 {
		for i := range sides {
			one := sides[(round+i)%2]
			took, err := b.timed(ctx, one.box, script, one.args...)
			if err != nil {
				return fmt.Errorf("%s: %w", measure, err)
			}
			if round == 0 {
				continue // warm-up for both
			}
			b.results.Add(measure, one.side, "ms", took)
			b.say("%s %d/%d: %s %.0f ms", measure, round, rounds, one.side, took)
		}
	}
	return nil
}

// docker compares the inner `docker run` and `docker build` with those of the machine's own
// engine. Both use the same CLI and the same script, which is timed next to the CLI.
func (b *bench) docker(ctx context.Context) error {
	inner, err := b.up(ctx, b.run)
	if err != nil {
		return err
	}
	if err := b.load(ctx, inner, b.toolsImage, b.trueImage); err != nil {
		return err
	}
	label := runLabel + "=" + b.run
	sides := func(args ...string) [2]opponent { return [2]opponent{{runner, inner, args}, {host, b.client, args}} }
	if err := b.compare(ctx, dockerRun, runScript, b.amounts.runs, sides(label, b.trueImage)); err != nil {
		return err
	}
	if err := b.compare(ctx, dockerBuild, buildScript, b.amounts.builds, sides(label, b.toolsImage, "runnerctl-bench/built:"+b.run)); err != nil {
		return err
	}
	return b.down(ctx, b.run)
}

// exec compares runnerctl exec with docker exec in the same runner. The host may have no Docker
// CLI, so both programs start in the container that has one, timed by the same script. Both
// reach the engine through its socket.
func (b *bench) exec(ctx context.Context) error {
	one, err := b.up(ctx, b.run)
	if err != nil {
		return err
	}
	info, err := b.api.ContainerInspect(ctx, one.id)
	if err != nil {
		return err
	}
	file, err := os.Open(program)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := b.sh(ctx, b.client, file, "cat >/usr/local/bin/runnerctl && chmod +x /usr/local/bin/runnerctl"); err != nil {
		return err
	}
	name := strings.TrimPrefix(info.Name, "/")
	err = b.compare(ctx, execTrue, commandScript, b.amounts.execs, [2]opponent{
		{runner, b.client, []string{"runnerctl", "exec", name, "--", "true"}},
		{host, b.client, []string{"docker", "exec", name, "true"}},
	})
	if err != nil {
		return err
	}
	return b.down(ctx, b.run)
}

const userNetwork = "bench"

// network measures the throughput between a container on each contender's inner bridge and a
// container on the outer bridge of the machine's engine.
func (b *bench) network(ctx context.Context) error {
	server, err := b.helper(ctx, "server", container.Config{Image: b.toolsImage, Cmd: []string{"iperf3", "--server", "--forceflush"}}, container.HostConfig{NetworkMode: "bridge"})
	if err != nil {
		return err
	}
	if err := b.waitLine(ctx, server.id, "Server listening"); err != nil {
		return fmt.Errorf("iperf3 server: %w", err)
	}
	info, err := b.api.ContainerInspect(ctx, server.id)
	if err != nil {
		return err
	}
	address := info.NetworkSettings.Networks["bridge"].IPAddress

	// With default addresses, the stock daemon's bridge would hide the outer one.
	settings, _, err := b.ours.settings()
	if err != nil {
		return err
	}
	theirs, _, err := b.start(ctx, b.theirs.with("--bip", settings.Docker.Bip), b.run+"-net", lookOne)
	if err != nil {
		return err
	}
	ours, err := b.up(ctx, b.run)
	if err != nil {
		return err
	}
	config, err := b.writeConfig("network:\n  driver: pasta\n")
	if err != nil {
		return err
	}
	withPasta, err := b.up(ctx, b.run+"-pasta", "--config", config)
	if err != nil {
		return err
	}
	for _, one := range []*box{ours, theirs, withPasta} {
		if err := b.load(ctx, one, b.toolsImage); err != nil {
			return err
		}
	}
	if _, err := b.sh(ctx, ours, nil, "docker network create "+userNetwork); err != nil {
		return err
	}
	paths := []struct {
		side, network string
		box           *box
	}{{runner, "bridge", ours}, {runnerUser, userNetwork, ours}, {stock, "bridge", theirs}, {pasta, "bridge", withPasta}}
	for round := range b.amounts.netRounds {
		for i := range paths {
			path := paths[i]
			if round%2 == 1 {
				path = paths[len(paths)-1-i]
			}
			for _, direction := range []string{netUp, netDown} {
				rate, retries, err := b.iperf(ctx, path.box, path.network, address, direction == netDown)
				if err != nil {
					return err
				}
				b.results.Add(direction, path.side, "Gbit/s", rate)
				if direction == netUp {
					b.results.Add(netUpRetries, path.side, "segments", retries)
				}
				b.say("%s %d/%d: %s %.2f Gbit/s", direction, round+1, b.amounts.netRounds, path.side, rate)
			}
		}
	}
	if err := b.remove(ctx, theirs, server); err != nil {
		return err
	}
	if err := b.down(ctx, b.run+"-pasta"); err != nil {
		return err
	}
	return b.down(ctx, b.run)
}

// iperf runs one transfer. The rate is measured by the receiver.
func (b *bench) iperf(ctx context.Context, from *box, network, address string, reverse bool) (gbits, retries float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.amounts.netSeconds)*time.Second+30*time.Second)
	defer cancel()
	args := []string{runLabel + "=" + b.run, network, b.toolsImage, address, strconv.Itoa(b.amounts.netSeconds)}
	if reverse {
		args = append(args, "--reverse")
	}
	text, err := b.sh(ctx, from, nil, `label=$1 network=$2 image=$3 address=$4 seconds=$5; shift 5
exec docker run --rm --label "$label" --network "$network" "$image" iperf3 --client "$address" --time "$seconds" --json "$@"`, args...)
	if err != nil {
		return 0, 0, err
	}
	return parseIperf([]byte(text))
}

func parseIperf(text []byte) (gbits, retries float64, err error) {
	var report struct {
		Error string
		End   struct {
			Sent     struct{ Retransmits float64 } `json:"sum_sent"`
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return 0, 0, fmt.Errorf("iperf3's report: %w", err)
	}
	if report.Error != "" {
		return 0, 0, fmt.Errorf("iperf3: %s", report.Error)
	}
	return report.End.Received.BitsPerSecond / 1e9, report.End.Sent.Retransmits, nil
}

// memory compares how much of the machine's memory idle daemons use: the mean of the available
// memory before and after, minus the available memory while they run.
func (b *bench) memory(ctx context.Context) error {
	for round := range b.amounts.idleRounds + 1 {
		err := b.alternate(round, func(c contender) error {
			before, err := b.available(ctx)
			if err != nil {
				return err
			}
			all, _, err := b.startMany(ctx, c, b.amounts.idleCount)
			if err != nil {
				return err
			}
			with, err := b.available(ctx)
			if err != nil {
				return err
			}
			var stats []float64
			for _, one := range all {
				mib, err := b.statsMiB(ctx, one.id)
				if err != nil {
					return err
				}
				stats = append(stats, mib)
			}
			if err := b.remove(ctx, all...); err != nil {
				return err
			}
			after, err := b.available(ctx)
			if err != nil {
				return err
			}
			each := ((before+after)/2 - with) / float64(len(all))
			b.say("memory of %d idle, round %d/%d: %s %.1f MiB each", len(all), round, b.amounts.idleRounds, c.name, each)
			if round == 0 {
				return nil // warm-up
			}
			b.results.Add(idle, c.name, "MiB", each)
			b.results.Add(idleStats, c.name, "MiB", median(stats))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// idleTime measures the processor time of idle runners whose daemon has not run.
func (b *bench) idleTime(ctx context.Context) error {
	all, _, err := b.startMany(ctx, b.onDemand, b.amounts.idleCount)
	if err != nil {
		return err
	}
	if err := settle(ctx, b.amounts.idleSettle); err != nil {
		return err
	}
	before, begin := make([]time.Duration, len(all)), time.Now()
	for i, one := range all {
		if before[i], err = b.cpu(ctx, one.id); err != nil {
			return err
		}
	}
	if err := settle(ctx, b.amounts.idleWatch); err != nil {
		return err
	}
	watched := time.Since(begin) // both loops take the same time
	for i, one := range all {
		after, err := b.cpu(ctx, one.id)
		if err != nil {
			return err
		}
		used := 1000 * (after - before[i]).Seconds() / watched.Seconds()
		b.results.Add(idleCPU, onDemand, "ms/s", used)
		b.say("processor time of idle runner %d/%d: %.2f ms/s", i+1, len(all), used)
	}
	return b.remove(ctx, all...)
}

// available returns the machine's available memory in MiB after a pause, as the median of five
// samples.
func (b *bench) available(ctx context.Context) (float64, error) {
	if err := settle(ctx, b.amounts.idleSettle); err != nil {
		return 0, err
	}
	text, err := b.sh(ctx, b.client, nil, "look() { cat /proc/meminfo /proc/zoneinfo; }; look; for i in 1 2 3 4; do sleep 0.4; echo; look; done")
	if err != nil {
		return 0, err
	}
	var looks []float64
	for look := range strings.SplitSeq(text, "\n\n") {
		mib, err := availableMiB(look, os.Getpagesize())
		if err != nil {
			return 0, err
		}
		looks = append(looks, mib)
	}
	return median(looks), nil
}

// availableMiB returns MemAvailable of /proc/meminfo plus the pages that /proc/zoneinfo counts as
// each processor's own free ones. The kernel does not count those as available, and has up to
// 100 MiB of them for some seconds after ten starts. Page is the size of a page in bytes.
func availableMiB(text string, page int) (float64, error) {
	found, sum := false, 0.0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		unit := 0
		switch fields[0] {
		case "MemAvailable:":
			found, unit = true, 1<<10
		case "count:": // of pagesets
			unit = page
		default:
			continue
		}
		value, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return 0, fmt.Errorf("%q: %w", line, err)
		}
		sum += value * float64(unit)
	}
	if !found {
		return 0, fmt.Errorf("no MemAvailable in %q", text)
	}
	return sum / (1 << 20), nil
}
