//go:build linux

package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// talker starts a container that looks like a runner of the fleet and runs a script, whose
// output is its log.
func talker(t *testing.T, api *client.Client, name, script string, restarts int) string {
	t.Helper()
	tag := e2e.RunnerImage(t)
	config := &container.Config{
		Image: tag, Entrypoint: []string{"sh", "-c", script}, Cmd: []string{},
		Labels: map[string]string{"dev.runnerctl.fleet": name, "dev.runnerctl.role": "runner", "dev.runnerctl.schema": "1"},
	}
	runner := fleet.NewName(name, map[string]bool{})
	labels := map[string]string{"dev.runnerctl.runner": runner}
	maps.Copy(labels, config.Labels)
	if _, err := api.VolumeCreate(t.Context(), volume.CreateOptions{Name: runner + "-data", Labels: labels}); err != nil {
		t.Fatal(err)
	}
	host := &container.HostConfig{NetworkMode: "none", Binds: []string{runner + "-data:/rootfs/var/lib/docker"}}
	if restarts > 0 {
		host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: restarts}
	}
	made, err := api.ContainerCreate(t.Context(), config, host, nil, nil, runner)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return runner
}

func jsonLines(t *testing.T, text string) (lines []fleet.LogLine) {
	t.Helper()
	for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
		var line fleet.LogLine
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func texts(lines []fleet.LogLine) (all []string) {
	for _, line := range lines {
		all = append(all, line.Source+" "+line.Text)
	}
	return all
}

// logs handles sources, long lines, control characters, and a last line without a newline.
func TestLogsOfATalker(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	runner := talker(t, api, name, `
		printf '[kit] hello\n'; sleep 0.05
		printf 'dockerd: \033[31mred\033[0m\tone\r\n' >&2
		sleep 0.05; printf 'containerd: '; head -c 40000 /dev/zero | tr '\0' x; echo end
		sleep 0.05; printf 'agent: two\nagent: three\n'; sleep 0.05; printf 'dockerd: last words'`, 0)
	e2e.Eventually(t, time.Minute, "it ends", func() bool {
		info, err := api.ContainerInspect(t.Context(), runner)
		return err == nil && info.State.Status == "exited"
	})
	long := "containerd " + strings.Repeat("x", 40000) + "end"
	all := []string{"start [kit] hello", "dockerd \x1b[31mred\x1b[0m\tone", long, "agent two", "agent three", "dockerd last words"}

	if got := texts(jsonLines(t, e2e.Must(t, "logs", "--fleet", name, "-o", "json"))); !slices.Equal(got, all) {
		t.Errorf("got %.300q, want %.300q", got, all)
	}
	for _, test := range []struct {
		args string
		want []string
	}{
		{"--tail 1", all[5:]},
		{"--tail 0", nil},
		{"--tail 4 -f", all[2:]},
		{"--source agent", all[3:5]},
		{"--source agent --tail 1", all[4:5]},
		{"--source dockerd,start -f", []string{all[0], all[1], all[5]}},
		{"--source dockerd --source start --tail 2", []string{all[1], all[5]}},
		{"--since 1h", all},
		{"--since 2100-01-01T00:00:00Z -f", nil},
	} {
		args := append([]string{"logs", runner, "-o", "json"}, strings.Fields(test.args)...)
		if got := texts(jsonLines(t, e2e.Must(t, args...))); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %.300q, want %.300q", test.args, got, test.want)
		}
	}

	text := e2e.Must(t, "logs", runner, "-t", "--source", "dockerd")
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }) {
		t.Errorf("control characters: %q", text)
	}
	if lines := strings.Split(text, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], runner+"  dockerd     2") || !strings.HasSuffix(lines[0], "Z  red one") {
		t.Errorf("got %q, want 3 lines, the first of dockerd, with red one", lines)
	}
	if text := e2e.Must(t, "logs", runner, "--color", "always", "--tail", "1"); !strings.HasPrefix(text, "\x1b[36m"+runner+"\x1b[0m  ") {
		t.Errorf("got %q, want the colour of %s at the beginning", text, runner)
	}
	since := jsonLines(t, e2e.Must(t, "logs", runner, "-o", "json"))[3].Time.Format(time.RFC3339Nano)
	if got := texts(jsonLines(t, e2e.Must(t, "logs", runner, "-o", "json", "--since", since))); !slices.Equal(got, all[3:]) {
		t.Errorf("since %s: got %q, want %q", since, got, all[3:])
	}
}

// logs -f, started at any moment, shows every line of each runner once and in order, also
// over a restart of the container.
func TestLogsFollowMissesAndDoublesNothing(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	const lines = 600
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do
		i=$((i+1)); echo "agent: out $i"; echo "dockerd: err $i" >&2; [ $((i %% 20)) -ne 0 ] || sleep 0.02
	done; exit 1`, lines)
	var want []string
	for range 2 {
		for i := range lines {
			want = append(want, fmt.Sprint(i+1))
		}
	}
	runners := []string{talker(t, api, name, script, 1), talker(t, api, name, script, 1)}
	outputs := make(chan string, 6)
	for i := range cap(outputs) {
		time.Sleep(time.Duration(i*37) * time.Millisecond)
		go func() {
			code, stdout, stderr := e2e.Runnerctl(t.Context(), "logs", "-f", "-o", "json", "--fleet", name)
			if code != 0 {
				t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
			}
			outputs <- stdout
		}()
	}
	for range cap(outputs) {
		got := map[string][]string{}
		for _, line := range jsonLines(t, <-outputs) {
			key := line.Runner + " " + line.Source
			_, number, _ := strings.Cut(line.Text, " ")
			got[key] = append(got[key], number)
		}
		for _, runner := range runners {
			for _, source := range []string{"agent", "dockerd"} {
				if lines := got[runner+" "+source]; !slices.Equal(lines, want) {
					t.Errorf("%s %s: %d lines, want %d", runner, source, len(lines), len(want))
				}
			}
		}
	}
}

// logs shows the daemons' lines of two real runners in the order of time. With -f, it shows
// that a daemon died. Ctrl-C ends it with code 130.
func TestLogsOfRunners(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name, "--count", "2")...)
	lines := jsonLines(t, e2e.Must(t, "logs", "--fleet", name, "-o", "json"))
	seen := map[string]bool{}
	for i, line := range lines {
		seen[line.Runner+" "+line.Source] = true
		if i > 0 && line.Time.Before(lines[i-1].Time) {
			t.Errorf("line %d is older than the one before, want them in order", i)
		}
	}
	runners := e2e.List(t, name)
	for _, runner := range runners {
		for _, source := range []string{"start", "dockerd"} {
			if !seen[runner.Name+" "+source] {
				t.Errorf("%s: nothing of %s", runner.Name, source)
			}
		}
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	followed := make(chan string, 1)
	go func() {
		code, stdout, stderr := e2e.Runnerctl(ctx, "logs", "-f", "--tail", "0", "-o", "json", "--fleet", name)
		if code != commands.ExitInterrupted {
			t.Errorf("exit code %d, want %d; stderr:\n%s", code, commands.ExitInterrupted, stderr)
		}
		followed <- stdout
	}()
	time.Sleep(time.Second)
	e2e.Must(t, "exec", "--root", runners[0].Name, "--", "pkill", "-KILL", "-x", "dockerd")
	time.Sleep(2 * time.Second)
	cancel(commands.ErrInterrupted)
	if got := jsonLines(t, <-followed); !slices.Contains(texts(got), "start dockerd ended by itself with code 137") || slices.ContainsFunc(got, func(line fleet.LogLine) bool { return line.Runner != runners[0].Name }) {
		t.Errorf("got %q, want the end of dockerd, and lines of %s alone", texts(got), runners[0].Name)
	}

	for _, args := range []string{"nosuch", runners[0].Name + " nosuch"} {
		code, stdout, stderr := e2e.Runnerctl(t.Context(), append([]string{"logs"}, strings.Fields(args)...)...)
		if code != commands.ExitFailure || stdout != "" || !strings.Contains(stderr, "no runner named nosuch") || !strings.Contains(stderr, "runnerctl ps --all") {
			t.Errorf("%s: exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q and %q", args, code, commands.ExitFailure, stdout, stderr, "no runner named nosuch", "runnerctl ps --all")
		}
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "logs", "--fleet", name+"x"); code != commands.ExitFailure || !strings.Contains(stderr, "has no runners") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "has no runners")
	}
}
