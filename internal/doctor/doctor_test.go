package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnerctl/runnerctl/internal/golden"
)

// env gives the facts as if each source had been asked.
func env(f Facts) Env {
	return Env{
		Known:     f,
		Machine:   func(context.Context) (Machine, error) { return f.Machine, nil },
		Space:     func(context.Context) (Space, error) { return f.Space, nil },
		Container: func(context.Context) (Container, error) { return f.Container, nil },
		Registry:  func(context.Context) (Registry, error) { return f.Registry, nil },
		GitHub:    func(context.Context) (GitHub, error) { return f.GitHub, nil },
		Image:     func(context.Context) (Image, error) { return f.Image, nil },
	}
}

// broken is a machine with something of each kind.
func broken(t *testing.T) Env {
	facts := chmod(debian13(t), "dev/net/tun", 0o600)
	facts = replaced(facts, "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
	facts = replaced(facts, "proc/sys/user/max_user_namespaces", "0\n")
	facts = replaced(replaced(replaced(facts, "sys/module/overlay", ""), "proc/modules", ""), "proc/filesystems", "")
	facts.Container.Metadata = true
	facts.Wanted.Count = 3
	environment := env(facts)
	environment.GitHub = func(context.Context) (GitHub, error) { return GitHub{}, errors.New("no target in the settings") }
	return environment
}

func run(checks []Check, env Env) Report { return Run(context.Background(), checks, env, time.Minute) }

func TestCrashIsReportedAndTheOthersGoOn(t *testing.T) {
	checks := []Check{
		{ID: "x", Severity: Mandatory, Run: func(Facts) Outcome { panic("boom") }},
		{ID: "y", Severity: Mandatory, Run: func(Facts) Outcome { return pass("fine") }},
	}
	report := run(checks, Env{})
	if report.Checks[0].Status != Crash || report.Checks[0].Observed != "boom" || report.Checks[1].Status != Pass || !report.Failed() {
		t.Errorf("got %+v, want a crash with boom, then a pass, and a failed report", report)
	}
}

func TestTimeLimitOfOneCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := Env{Machine: func(ctx context.Context) (Machine, error) { <-ctx.Done(); return Machine{}, ctx.Err() }}
		checks := []Check{
			{ID: "x", Severity: Advice, Needs: NeedsMachine, Run: func(Facts) Outcome { return pass("") }},
			{ID: "y", Severity: Mandatory, Run: func(Facts) Outcome { return pass("fine") }},
		}
		report := Run(t.Context(), checks, hangs, 5*time.Second)
		if report.Took != 5*time.Second || report.Checks[1].Status != Pass || report.Failed() {
			t.Errorf("got %+v, want 5s, the second check passed, and a report that did not fail", report)
		}
		if x := report.Checks[0]; x.Status != Crash || x.Observed != "no answer within 5s" {
			t.Errorf("got %+v, want a crash: no answer within 5s", x)
		}
	})
}

// Checks run at the same time, and a source is asked once for all of them.
func TestParallelAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		slow := Env{
			Machine: Once(func(context.Context) (Machine, error) { asked++; time.Sleep(time.Second); return Machine{}, nil }),
			Image:   Once(func(context.Context) (Image, error) { time.Sleep(time.Second); return Image{}, nil }),
		}
		check := Check{Needs: NeedsMachine, Run: func(Facts) Outcome { return pass("") }}
		other := Check{Needs: NeedsImage, Run: func(Facts) Outcome { return pass("") }}
		if report := Run(t.Context(), []Check{check, other, check}, slow, time.Minute); report.Took != time.Second || asked != 1 || report.Counts()[Pass] != 3 {
			t.Errorf("got %+v, asked %d times, want 3 passes in 1s, asked once", report, asked)
		}
	})
}

type isPassing struct{ error }

func (isPassing) Passing() bool { return true }

func TestOnceAsksAgainWhatWasPassing(t *testing.T) {
	answers := []error{isPassing{errors.New("not yet")}, errors.New("no"), nil}
	var mutex sync.Mutex
	source := Once(func(context.Context) (int, error) {
		mutex.Lock()
		defer mutex.Unlock()
		err := answers[0]
		answers = answers[1:]
		return 0, err
	})
	var got []string
	for range 3 {
		_, err := source(t.Context())
		got = append(got, err.Error())
	}
	if strings.Join(got, ", ") != "not yet, no, no" {
		t.Errorf("got %q, want %q", strings.Join(got, ", "), "not yet, no, no")
	}
}

// Checks without the necessary data are skipped with the reason, never failed.
func TestSkips(t *testing.T) {
	needy := func(needs Need) []Check {
		return []Check{{ID: "x", Severity: Mandatory, Needs: needs, Run: func(Facts) Outcome { return Outcome{Status: Fail} }}}
	}
	tests := []struct {
		needs Need
		env   Env
		want  string
	}{
		{NeedsEngine, Env{Known: Facts{EngineErr: errors.New("no")}}, "the engine does not answer"},
		{NeedsMachine, Env{}, "not known from here"},
		{NeedsEngine | WantsContainer, Env{}, "not known from here"},
		{WantsContainer, Env{Container: func(context.Context) (Container, error) { return Container{}, isPassing{errors.New("no image yet")} }}, "no image yet"},
		{NeedsOutside, Env{Offline: true}, "offline"},
		{NeedsOutside | NeedsGitHub, Env{Offline: true, GitHub: func(context.Context) (GitHub, error) { panic("asked") }}, "offline"},
		{NeedsRegistry, Env{Registry: func(context.Context) (Registry, error) {
			return Registry{}, errors.New("the engine has debian:trixie-slim")
		}}, "the engine has debian:trixie-slim"},
	}
	for _, test := range tests {
		report := run(needy(test.needs), test.env)
		if got := report.Checks[0]; got.Status != Skip || got.Observed != test.want || report.Failed() {
			t.Errorf("%+v, want %q", got, test.want)
		}
	}
}

// Where no container can be looked from, one check fails, and those that look at
// the machine from there say why they can't.
func TestNoContainer(t *testing.T) {
	facts := debian13(t)
	dead := errors.New("probe container: context deadline exceeded")
	away := env(facts)
	away.Machine = func(context.Context) (Machine, error) { return Machine{}, dead }
	away.Container = func(context.Context) (Container, error) { return Container{}, dead }
	report := run(Required(Catalogue()), away)
	if counts := report.Counts(); !report.Failed() || counts[Fail] != 1 || counts[Crash] != 0 || counts[Skip] == 0 {
		t.Errorf("got %+v, want one failure, no crash, and some skipped", counts)
	}
	for _, result := range report.Checks {
		if result.Status == Fail && result.ID != "engine.containers" || result.Status == Skip && result.Observed != dead.Error() {
			t.Errorf("got %+v, want engine.containers alone to fail, the rest skipped for %v", result, dead)
		}
	}
}

func TestSelect(t *testing.T) {
	tests := map[string]string{
		"devices.tun":              "devices.tun",
		"userns.max devices":       "userns.max devices.tun devices.wanted",
		"image":                    "",
		"devices.tun devices.nosu": "",
	}
	for words, want := range tests {
		selected, unknown := Select(Catalogue(), strings.Fields(words))
		var ids []string
		for _, check := range selected {
			ids = append(ids, check.ID)
		}
		if got := strings.Join(ids, " "); got != want || (unknown != "") != (want == "") {
			t.Errorf("%s: got %q, unknown %q, want %q", words, got, unknown, want)
		}
	}
}

func TestDowngrade(t *testing.T) {
	report := run(Catalogue(), broken(t))
	ignored, _ := Select(Catalogue(), []string{"devices.tun", "userns"})
	lenient := report.Downgrade(ignored)
	if !report.Failed() || lenient.Failed() {
		t.Errorf("failed %v, then %v, want true, then false", report.Failed(), lenient.Failed())
	}
	if lenient.Counts()[Warn] != report.Counts()[Warn]+3 || lenient.Counts()[Pass] != report.Counts()[Pass] {
		t.Errorf("%v, then %v, want 3 more warnings, and the same passes", report.Counts(), lenient.Counts())
	}
}

// The catalogue's own form.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	groups := map[string]bool{}
	last := ""
	for _, check := range every() {
		_, _, ok := strings.Cut(check.ID, ".")
		if seen[check.ID] || !ok || check.Title == "" || check.Why == "" || check.Severity == "" {
			t.Errorf("got %+v, want an id of its own, a title, a reason and a severity", check)
		}
		seen[check.ID] = true
		if check.Group != last && groups[check.Group] {
			t.Errorf("%s: group %s is in two places", check.ID, check.Group)
		}
		groups[check.Group], last = true, check.Group
	}
}

func TestWriteText(t *testing.T) {
	same := func(s string) string { return s }
	plain := Style{OK: same, Fail: same, Warn: same, Dim: same, Bold: same}
	narrow := plain
	narrow.Narrow, narrow.Machine = true, "vm"
	for name, style := range map[string]Style{"report.txt": plain, "report-narrow.txt": narrow} {
		report := run(Catalogue(), broken(t))
		report.Took = 600 * time.Millisecond
		var out bytes.Buffer
		WriteText(&out, report, style)
		golden.Check(t, filepath.Join("testdata", name), out.Bytes())
	}
}

func TestJSON(t *testing.T) {
	text, err := json.MarshalIndent(run(Catalogue(), broken(t)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "report.json"), append(text, '\n'))
}

// A failed fix does not stop the other fixes, and is reported.
func TestScriptGoesOn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "id"), []byte("#!/bin/sh\necho 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	mended := filepath.Join(dir, "mended")
	check := Check{ID: "x", Run: func(Facts) Outcome {
		return Outcome{Status: Warn, Remedy: fix("", shell{"first", "false", "{ false; touch " + mended + ".wrongly; }"}, shell{"second", "false", "touch " + mended}, shell{"third", "true", "touch " + mended + ".needlessly"})}
	}}
	var script bytes.Buffer
	run([]Check{check}, Env{}).Script(&script, "this machine")
	shell := exec.Command("sh")
	shell.Stdin, shell.Env = &script, []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	out, err := shell.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || string(out) != "not fixed:\n  first\n" {
		t.Errorf("%v: %q, want exit code 1 and %q", err, out, "not fixed:\n  first\n")
	}
	if found, _ := filepath.Glob(mended + "*"); len(found) != 1 || found[0] != mended { // the pattern is fine
		t.Errorf("made %v, want %s alone", found, mended)
	}
}

func TestScript(t *testing.T) {
	var out bytes.Buffer
	run(Catalogue(), broken(t)).Script(&out, "this machine")
	golden.Check(t, filepath.Join("testdata", "fix.sh"), out.Bytes())
	shell := exec.Command("sh", "-n")
	shell.Stdin = &out
	if complaints, err := shell.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, complaints)
	}
	out.Reset()
	run(Catalogue(), env(debian13(t))).Script(&out, "this machine")
	if !strings.HasSuffix(out.String(), "# Nothing to do.\n") {
		t.Errorf("got:\n%s\nwant %q at the end", out.String(), "# Nothing to do.\n")
	}
}
