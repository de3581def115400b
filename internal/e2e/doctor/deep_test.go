//go:build linux

package doctor

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/selftest"
)

// If a required check fails, the report says that the deep steps did not run.
func TestDeepThatDidNotRun(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	t.Chdir(t.TempDir())
	code, stdout, _ := e2e.Runnerctl(t.Context(), "doctor", "--deep", "--offline", "-o", "json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if code != commands.ExitFailure || report.Deep == nil || report.Deep.Reason != "a required check failed" || report.Deep.Steps[0].Status != doctor.Skip {
		t.Errorf("exit code %d, want %d; %+v, want the reason %q, and the first step %s", code, commands.ExitFailure, report.Deep, "a required check failed", doctor.Skip)
	}
	if code, stdout, _ := e2e.Runnerctl(t.Context(), "doctor", "--deep", "--offline"); code != commands.ExitFailure || !strings.HasSuffix(stdout, "not tried  a required check failed\n") {
		t.Errorf("exit code %d, want %d; stdout:\n%s\nwant %q", code, commands.ExitFailure, stdout, "not tried  a required check failed\n")
	}
}

// With --offline, nothing is pulled, built or requested. doctor reports the missing image
// next to the report of the checks.
func TestDeepOfflineSaysWhatIsMissing(t *testing.T) {
	e2e.Engine(t)
	t.Chdir(t.TempDir())
	for settings, want := range map[string]string{
		"image: {base: nosuch.invalid/base:1}":      "the engine has no base image nosuch.invalid/base:1, and --offline makes none",
		"image: {packages: [no-such-package]}":      "runner image",
		"target: https://github.invalid/acme/tools": "only GitHub knows which agent",
	} {
		if err := os.WriteFile("runnerctl.yaml", []byte(settings+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "doctor", "--deep", "--offline", "-o", "json")
		var report doctor.Report
		if err := json.Unmarshal([]byte(stdout), &report); err != nil {
			t.Fatalf("%s: %v: %s", settings, err, stderr)
		}
		if code != commands.ExitFailure || len(report.Checks) == 0 || report.Deep == nil || !strings.Contains(report.Deep.Reason, want) {
			t.Errorf("%s: exit code %d, want %d; %d checks, deep %+v, want checks and the reason %q; stderr:\n%s", settings, code, commands.ExitFailure, len(report.Checks), report.Deep, want, stderr)
		}
	}
}

// The way out works to a name that only a name server of this test knows.
func TestEgress(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	neighbour := e2e.List(t, name)[0]
	hand := handOf(t, api, neighbour.ContainerID)
	_, gateway, err := hand.engine.Addresses(t.Context(), neighbour)
	if err != nil {
		t.Fatal(err)
	}
	names, err := net.ListenPacket("udp4", net.JoinHostPort(gateway.String(), "53"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = names.Close() }()
	go e2e.AnswerAddress(names, "forge.test.", gateway.As4())
	service, err := net.Listen("tcp4", net.JoinHostPort(gateway.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = service.Close() }()
	go selftest.SayToken(service, "here")
	_, port, _ := net.SplitHostPort(service.Addr().String()) // the address is valid

	runner, said := hand.start(t, func(_ *container.Config, host *container.HostConfig) { host.DNS = []string{gateway.String()} })
	if said != "" {
		t.Fatalf("the start says %s, want nothing", said)
	}
	pair := selftest.Pair{Tried: runner}
	if said := hand.steps(t, pair, "run"); said != "" {
		t.Fatalf("the step run says %s, want nothing", said)
	}
	scripts, err := selftest.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		target   string
		status   doctor.Status
		observed string
	}{
		{"https://forge.test:" + port + "/acme", doctor.Pass, "forge.test:" + port + " answers"},
		{"https://forge.test:1/acme", doctor.Warn, "forge.test is resolved, but port 1 does not answer"},
		{"https://nosuch.test/acme", doctor.Warn, "no DNS: nosuch.test can't be resolved here"},
	} {
		for _, script := range scripts {
			if script.ID != selftest.NeedsOutside {
				continue
			}
			step, err := selftest.RunScript(t.Context(), hand.engine, pair, script, test.target)
			if err != nil || step.Status != test.status || step.Observed != test.observed {
				t.Errorf("%s: %+v, %v, want %s %q", test.target, step, err, test.status, test.observed)
			}
		}
	}
}
