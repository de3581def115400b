//go:build linux

package doctor

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/templates"
)

// notOnEveryKernel lists the attempts that some kernels have no target for, with the reason.
// All other attempts must succeed on every machine.
var notOnEveryKernel = map[string]string{
	"kmsg":             "the kernel has none",
	"sysrq":            "the kernel has none",
	"kcore":            "the kernel has none",
	"module":           "the kernel has no such call",
	"module-file":      "the kernel has no such call",
	"module-removal":   "the kernel has no such call",
	"kexec":            "the kernel has no such call",
	"io-ports":         "the kernel has no such call",
	"moved-memory":     "the kernel has no such call",
	"binary-format":    "the kernel has none",
	"mount-debugfs":    "the kernel has none",
	"mount-tracefs":    "the kernel has none",
	"mount-securityfs": "the kernel has none",
	"mount-configfs":   "the kernel has none",
	"mount-devtmpfs":   "the kernel has none",
	"mount-pstore":     "the kernel has none",
	"cgroup-devices":   "control groups v2 have no such file",
	"cgroup-release":   "no root of a group is visible",
}

// In a real runner, each step passes, no attempt gets out, and nothing is left.
func TestDeep(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "doctor", "--deep", "--offline", "--fleet", name, "-o", "json")
	if code != 0 {
		t.Fatalf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
	}
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Deep == nil {
		t.Fatal("nothing deep in the report")
	}
	var steps []string
	for _, step := range report.Deep.Steps {
		steps = append(steps, step.ID+" "+string(step.Status))
		if step.Status == doctor.Pass && step.Seconds <= 0 {
			t.Errorf("%s took no time", step.ID)
		}
	}
	want := "namespace pass, daemon pass, run pass, egress skip, build pass, port pass, mtu pass, storage pass, sudo pass, privileged pass, job-container pass, escape pass"
	if got := strings.Join(steps, ", "); got != want {
		t.Errorf("steps:\n%s\nwant:\n%s", got, want)
	}
	e2e.AllBlocked(t, report.Deep.Attempts, "runner", "root", "container", "privileged")
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// No attempt opens a disk. Only a test can make a canary of one: a read-only loop device.
func TestNobodyOpensADisk(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	hand := byHand{api: api, engine: engine}
	if said := hand.steps(t, selftest.Pair{Tried: runner}, "run"); said != "" { // builds the inner image
		t.Fatalf("the step run says %s, want nothing", said)
	}
	if err := engine.Send(t.Context(), runner, selftest.Folder, templates.Outer(templates.RunnerID), selftest.Pack); err != nil {
		t.Fatal(err)
	}
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	disk := slices.DeleteFunc(all, func(one doctor.Attempt) bool { return one.ID != "host-disk" })
	given := map[string]string{"disk": e2e.LoopDevice(t)}
	run := func(ctx context.Context, command dockerx.Command) (int, error) {
		return engine.Exec(ctx, runner, command)
	}
	for _, one := range selftest.Attackers(true) {
		if battery := selftest.Try(t.Context(), run, selftest.Attack{Attacker: one, Given: given, Attempts: disk}); battery.Err != nil || battery.Attempts[0].Verdict != doctor.Blocked {
			t.Errorf("got %+v, want it %s", battery, doctor.Blocked)
		}
	}
}

func TestInterruptedDeepLeavesNothing(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	for _, after := range []time.Duration{500, 4000} {
		e2e.InterruptedLeavesNothing(t, api, after*time.Millisecond, func(name string) []string { return []string{"doctor", "--deep", "--offline", "--fleet", name} })
	}
}
