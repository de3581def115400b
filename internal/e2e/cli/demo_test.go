//go:build linux

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/demo"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestDemo(t *testing.T) {
	e2e.Engine(t)
	t.Chdir(t.TempDir())
	out := ""
	if e2e.Thorough {
		out = e2e.Must(t, "demo", "--agent", agenttest.Archive(t), "--bootstrap-base", "--progress", "plain", "-o", "json")
	} else {
		out = oneWave(t)
	}
	var rows []demo.Row
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := map[bool]int{true: 9, false: 3}[e2e.Thorough]; len(rows) != want || slices.ContainsFunc(rows, func(row demo.Row) bool {
		return row.Conclusion != row.Expected || row.Daemon == "" || row.QueueToStart <= 0
	}) {
		t.Errorf("%d jobs, want %d, each with its expected conclusion, a daemon and a start: %+v", len(rows), want, rows)
	}
	if median := demo.MedianStart(rows); median > 5*time.Second {
		t.Errorf("queued to first step: %s, want at most 5s", median)
	}
}

// oneWave runs the demo with one wave of jobs, the one with the most kinds.
func oneWave(t *testing.T) string {
	t.Helper()
	var out, errs bytes.Buffer
	options := demo.Options{
		Settings: demo.Settings(config.Default()), Build: lifecycle.Build{BootstrapBase: true, Progress: "plain"},
		Agent: agenttest.Archive(t), Waves: demo.Waves()[1:2], JSON: true, Theme: ui.NewTheme("never", false, os.Getenv),
	}
	s := session.Session{Streams: ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Env: os.Getenv, GOOS: runtime.GOOS}
	if err := options.Run(t.Context(), s); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String()
}

func TestDemoNeedsAgent(t *testing.T) {
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "demo", "-o", "json")
	if code != commands.ExitFailure || stdout != "[]\n" || !strings.Contains(stderr, "0 archives testagent-linux") || !strings.Contains(stderr, "make agent") {
		t.Errorf("exit code %d, want %d; stdout %q, want %q; stderr:\n%s\nwant the missing archive and make agent", code, commands.ExitFailure, stdout, "[]\n", stderr)
	}
}
