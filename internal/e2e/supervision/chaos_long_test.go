//go:build linux && long

package supervision

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// killIn kills processes of one container by their ids on this machine: those of a program,
// or the container's first if program is "". It reports whether there was one.
func killIn(t *testing.T, container, program string) bool {
	t.Helper()
	killed := false
	for _, path := range e2e.ProcessesOf(t, []string{container}) {
		folder := filepath.Dir(path)
		comm, err := os.ReadFile(filepath.Join(folder, "comm"))
		if err != nil {
			continue // the process has ended
		}
		if program == "" && !isFirst(folder) || program != "" && strings.TrimSpace(string(comm)) != program {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			t.Fatal(err)
		}
		killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
	}
	return killed
}

// isFirst reports whether a process is its container's first: its parent is outside the
// container, and its id in the innermost of its namespaces is 1.
func isFirst(folder string) bool {
	status := procStatus(folder)
	ids := strings.Fields(status["NSpid"])
	return len(ids) > 1 && ids[len(ids)-1] == "1" && cgroupOf(folder) != cgroupOf(filepath.Join("/proc", strings.TrimSpace(status["PPid"])))
}

func procStatus(folder string) map[string]string {
	values := map[string]string{}
	text, _ := os.ReadFile(filepath.Join(folder, "status")) // a process that has ended has no such file
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		values[name] = strings.TrimSpace(value)
	}
	return values
}

func cgroupOf(folder string) string {
	text, _ := os.ReadFile(filepath.Join(folder, "cgroup"))
	return string(text)
}

// resident returns the memory of the supervisor's process in KiB; 0 if none runs.
func (s *keptFleet) resident() (now, peak int) {
	found, err := s.engine.Supervisor(s.t.Context(), s.name)
	if err != nil || found.ContainerID == "" {
		return 0, 0
	}
	for _, path := range e2e.ProcessesOf(s.t, []string{found.ContainerID}) {
		status := procStatus(filepath.Dir(path))
		_, _ = fmt.Sscan(status["VmRSS"], &now)
		_, _ = fmt.Sscan(status["VmHWM"], &peak)
	}
	return now, peak
}

// known returns the fleet's runners, sorted by name; none if the engine does not answer.
func (s *keptFleet) known() []fleet.Runner {
	found, _ := s.engine.Known(s.t.Context(), s.name)
	slices.SortFunc(found, func(a, b fleet.Runner) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// chaos is one run of TestChaos.
type chaos struct {
	*keptFleet
	private *enginetest.Engine
	random  *rand.Rand
	killed  map[string]bool // runners
	storms  []storm         // times in which all runners suffer
}

type storm struct{ began, ended time.Time }

// suffers reports whether the test may have removed a job's runner.
func (c *chaos) suffers(job ghsim.Result) bool {
	return c.killed[job.Runner] || slices.ContainsFunc(c.storms, func(s storm) bool {
		return job.Assigned.Before(s.ended) && (job.Completed.IsZero() || job.Completed.After(s.began))
	})
}

func (c *chaos) storm(do func()) {
	began := time.Now()
	do()
	c.storms = append(c.storms, storm{began, time.Now().Add(5 * time.Second)})
}

// kill ends a program in one of the runners, or the container's first process if program is
// "".
func (c *chaos) kill(program string) string {
	runners := slices.DeleteFunc(c.known(), func(one fleet.Runner) bool { return one.State != fleet.Running })
	pick := c.random.Uint64()
	if len(runners) == 0 {
		return "nobody"
	}
	one := runners[pick%uint64(len(runners))]
	if !killIn(c.t, one.ContainerID, program) {
		return "nothing in " + one.Name
	}
	c.killed[one.Name] = true
	return one.Name
}

// faults makes calls fail for the given time.
func (c *chaos) faults(match string, fault ghsim.Fault, lasting time.Duration) string {
	fault.Match = match
	remove := c.github.Inject(fault)
	sleepFor(c.t, lasting)
	remove()
	return match
}

func sleepFor(t *testing.T, length time.Duration) {
	select {
	case <-t.Context().Done():
	case <-time.After(length):
	}
}

const (
	rest   = "* /repos/**"
	broker = "* /broker/**"
)

// misfortunes are the faults that may hit a fleet, each with its weight.
var misfortunes = []struct {
	name   string
	weight int
	strike func(*chaos) string
}{
	{"kill supervisor", 3, func(c *chaos) string {
		if found, err := c.engine.Supervisor(c.t.Context(), c.name); err == nil && found.ContainerID != "" && killIn(c.t, found.ContainerID, "") {
			return found.ContainerID[:12]
		}
		return "nobody"
	}},
	{"kill cache", 2, func(c *chaos) string {
		if found, err := c.engine.Cache(c.t.Context()); err == nil && found.ContainerID != "" && killIn(c.t, found.ContainerID, "") {
			return found.ContainerID[:12]
		}
		return "nobody"
	}},
	{"kill agent", 3, func(c *chaos) string { return c.kill("Runner.Listener") }},
	{"kill dockerd", 2, func(c *chaos) string { return c.kill("dockerd") }},
	{"kill containerd", 1, func(c *chaos) string { return c.kill("containerd") }},
	{"kill container", 3, func(c *chaos) string { return c.kill("") }},
	{"restart engine", 1, func(c *chaos) string {
		c.storm(func() {
			c.private.Kill()
			c.private.Run(c.t)
		})
		return ""
	}},
	{"GitHub answers 500", 2, func(c *chaos) string { return c.faults(rest, ghsim.Fault{Status: 500}, 8*time.Second) }},
	{"GitHub answers 403", 1, func(c *chaos) string { return c.faults(rest, ghsim.Fault{Status: 403}, 5*time.Second) }},
	{"GitHub hangs", 1, func(c *chaos) string { return c.faults(rest, ghsim.Fault{Latency: 35 * time.Second}, 5*time.Second) }},
	{"GitHub answers, and nobody hears", 1, func(c *chaos) string { return c.faults(rest, ghsim.Fault{Drop: ghsim.DropAfter}, 3*time.Second) }},
	{"the broker fails", 1, func(c *chaos) string { return c.faults(broker, ghsim.Fault{Status: 500}, 3*time.Second) }},
	{"sessions are dropped", 2, func(c *chaos) string { c.github.DropSessions(); return "" }},
	{"a registration is deleted", 3, func(c *chaos) string {
		pick := c.random.Uint64()
		all := c.github.Runners()
		if len(all) == 0 {
			return "none"
		}
		one := all[pick%uint64(len(all))]
		if err := e2e.GitHubClient(c.t).Remove(c.t.Context(), one.ID); err != nil {
			return one.Name + ": " + err.Error()
		}
		return one.Name
	}},
	{"disk full", 1, func(c *chaos) string {
		c.storm(func() {
			empty := c.private.Fill(c.t, 1)
			sleepFor(c.t, 10*time.Second)
			empty()
		})
		return ""
	}},
}

// strike picks one misfortune and lets it happen.
func (c *chaos) strike() {
	total := 0
	for _, one := range misfortunes {
		total += one.weight
	}
	pick := c.random.IntN(total)
	for _, one := range misfortunes {
		if pick -= one.weight; pick < 0 {
			began := time.Now()
			outcome := one.strike(c)
			c.t.Logf("%s %s: %s", began.UTC().Format(time.TimeOnly), one.name, outcome)
			return
		}
	}
}

// backlog counts the jobs that no runner has taken yet.
func backlog(github *ghsim.Server) (count int) {
	for _, job := range github.Jobs() {
		if job.Status == "queued" {
			count++
		}
	}
	return count
}

// chaosSettings reads the seed of a run's choices and the run's length from the environment.
func chaosSettings(t *testing.T) (seed uint64, lasting time.Duration) {
	t.Helper()
	seed, lasting = uint64(time.Now().UnixNano()), 2*time.Minute
	var err error
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("CHAOS_FOR"); text != "" {
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CHAOS_SEED=%d CHAOS_FOR=%s", seed, lasting)
	return seed, lasting
}

// upstreamAt passes requests on to the registry, from an address that the private engine reaches:
// its own bridge has the address of this machine's.
func upstreamAt(t *testing.T, gateway, registry string) string {
	t.Helper()
	target, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(target), ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String()
}

// After kills, restarts, a full disk and wrong answers, the fleet is in its desired state,
// GitHub has no ghost, and every job that the test let live ran once. CHAOS_SEED repeats a
// run's choices, CHAOS_FOR sets its length.
func TestChaos(t *testing.T) {
	const count = 3
	seed, lasting := chaosSettings(t)
	machine := e2e.Engine(t)
	t.Chdir(t.TempDir())
	private := enginetest.Start(t, enginetest.Options{DiskMiB: 4000, Linked: true})
	github := e2e.StartGitHub(t, ghsim.Options{
		Address: private.Gateway + ":0", RunnerAddress: private.Gateway + ":0",
		SessionTimeout: 10 * time.Second, PollTimeout: 3 * time.Second, AcquireTimeout: 10 * time.Second, JobLock: 90 * time.Second,
	})
	e2e.WriteSettings(t, github, "acme/api", fmt.Sprintf("runners: {count: %d, spares: 1}\nimage: {agent: {archive: %s}}\ncache: {size: 1GiB, upstreams: {docker.io: %q}}",
		count, agenttest.Archive(t), upstreamAt(t, private.Gateway, e2e.ImageMirror(t, machine))))
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	private.CopyImage(t, machine, tag, "debian:trixie-slim")
	t.Setenv("DOCKER_HOST", private.Host)
	c := &chaos{keptFleet: supervise(t, private.API, github, "chaos"), private: private, random: rand.New(rand.NewPCG(seed, 0)), killed: map[string]bool{}}
	e2e.AwaitOnline(t, github, count)

	c.rage(lasting, count)
	calm := time.Now()
	e2e.Eventually(t, 6*time.Minute, "GitHub lists the wanted runners, all online and idle", func() bool {
		all := github.Runners()
		return len(all) == count && !slices.ContainsFunc(all, func(one ghsim.Runner) bool { return !one.Online || one.Busy })
	})
	t.Logf("in the desired state %s after the last misfortune", time.Since(calm).Round(time.Second))
	e2e.Eventually(t, 2*time.Minute, "the engine has these, a spare, and nothing else", func() bool {
		names := []string{"/runnerctl-supervisor-chaos", "runnerctl-credential-chaos", "runnerctl-state-chaos"}
		for _, runner := range c.known() {
			names = append(names, "/"+runner.Name, runner.Name+"-data")
		}
		left := e2e.Leftovers(t, private.API, "chaos")
		slices.Sort(names)
		slices.Sort(left)
		return len(c.known()) == count+1 && waiting(t, c.engine, "chaos") == 1 && slices.Equal(left, names)
	})
	e2e.Eventually(t, 2*time.Minute, "the cache serves images", func() bool {
		code, _, _ := e2e.Runnerctl(t.Context(), "exec", c.known()[0].Name, "--", "docker", "pull", "--quiet", "busybox:1")
		return code == 0
	})
	t.Run("each job that nobody killed ran once", c.jobsRanOnce)
	c.down()
}

// rage queues jobs and lets misfortunes happen for the given time, while it watches the
// supervisor's memory.
func (c *chaos) rage(lasting time.Duration, count int) {
	const most = 40 << 10 // KiB
	// The pull fails while the cache is gone: there is no way to Docker Hub.
	const script = "docker version >/dev/null; timeout 5 docker pull --quiet busybox:1 >/dev/null || true; sleep 2"
	t, github := c.t, c.github
	deadline, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for deadline.Err() == nil {
			// No more jobs than a slow machine can run: the test must wait for those still
			// queued.
			if backlog(github) >= count {
				sleepFor(t, time.Second)
				continue
			}
			if _, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted"}, Steps: []ghsim.Step{{Run: script}}}); err != nil {
				t.Error(err)
			}
			select {
			case <-deadline.Done():
			case <-time.After(5 * time.Second):
			}
		}
	})
	var sizes []int
	for deadline.Err() == nil {
		c.strike()
		now, peak := c.resident()
		sizes = append(sizes, now)
		if peak > most {
			t.Errorf("the supervisor takes %d KiB, %d at its peak, want at most %d", now, peak, most)
		}
		sleepFor(t, time.Duration(2+c.random.IntN(6))*time.Second)
	}
	feeding.Wait()
	t.Logf("the supervisor's memory in KiB: %v", sizes)
}

// jobsRanOnce checks the jobs whose runners the test let live.
func (c *chaos) jobsRanOnce(t *testing.T) {
	var lived, died []ghsim.Result
	for _, job := range c.github.Jobs() {
		if c.suffers(job) {
			died = append(died, job)
			continue
		}
		lived = append(lived, job)
		if job.Status != "completed" || job.Conclusion != "success" {
			t.Errorf("job %d on %q, which nobody killed: %s %s %v, want completed success", job.ID, job.Runner, job.Status, job.Conclusion, job.Failures)
		}
	}
	took := map[string]int{}
	for _, asked := range c.github.Requests() {
		if strings.HasSuffix(asked.Path, "/acquirejob") && asked.Status == 200 {
			took[strings.TrimPrefix(asked.Who, "runner ")]++
		}
	}
	for _, job := range lived {
		if took[job.Runner] != 1 {
			t.Errorf("runner %s took %d jobs, want 1", job.Runner, took[job.Runner])
		}
	}
	t.Logf("%d jobs succeeded, %d had a runner that was killed", len(lived), len(died))
}
