package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/prune"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

const (
	demoRunners = 3
	waveLimit   = 5 * time.Minute
	endLimit    = time.Minute // for runners that have had their job
)

type demoOptions struct {
	config config.Config
	build  lifecycle.Build
	agent  string // file; "" for the one next to this program
	waves  [][]demoJob
	json   bool
	theme  ui.Theme
}

func demoCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "demo",
		Category: "More",
		Usage:    "run a demo: doctor, build, a stand-in GitHub, three runners, nine jobs with Docker in three waves, down",
		Description: "Exits 1 if any result is not as expected.\n\nExamples:\n" +
			"   runnerctl demo\n" +
			"   runnerctl demo --bootstrap-base -o json",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "read settings from `FILE` (optional)", DefaultText: "./" + config.DefaultFile, EnvVars: []string{"RUNNERCTL_CONFIG"}, Category: "Settings"},
			&cli.StringFlag{Name: "agent", Usage: "`FILE` with the agent for the image", DefaultText: "the test agent next to runnerctl, built by make agent", EnvVars: []string{"RUNNERCTL_DEMO_AGENT"}, Category: "Settings"},
		}, flags.Build(), []cli.Flag{flags.Output(), flags.Color()}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := demoOptions{agent: c.String("agent"), waves: demoWaves()}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			// Each demo has a fleet of its own, so that two demos on one engine don't meet.
			loaded.Target = "" // set to the stand-in's once it runs
			loaded.Name, loaded.Runners = fleet.NewName("demo", map[string]bool{}), config.Default().Runners
			loaded.Runners.Count = demoRunners
			options.config = loaded
			if options.build, err = flags.BuildOptions(c); err != nil {
				return err
			}
			if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return runDemo(c.Context, s, options)
		},
	}}
}

// demoAgent returns the archive of the test agent: the given one, or the one next to this
// program.
func demoAgent(given string) (config.Agent, error) {
	if given == "" {
		program, err := os.Executable()
		if err != nil {
			return config.Agent{}, fmt.Errorf("agent: %w", err)
		}
		found, err := filepath.Glob(filepath.Join(filepath.Dir(program), "testagent-linux-*.tar.gz"))
		if err != nil || len(found) != 1 {
			return config.Agent{}, hint.Add(fmt.Errorf("agent: found %d archives testagent-linux-….tar.gz next to %s", len(found), program), "make agent builds it; --agent names another file")
		}
		given = found[0]
	}
	path, err := filepath.Abs(given)
	return config.Agent{Version: "latest", Archive: path}, err
}

// demo is a running demo.
type demo struct {
	session.Session
	demoOptions
	engine *dockerx.Engine
	github *ghsim.Server
	rows   []demoRow // never nil, because an array is printed
	roots  []string  // the counts of root processes
}

func runDemo(ctx context.Context, s session.Session, options demoOptions) error {
	out := s.Streams.Out
	run := &demo{Session: s, demoOptions: options, rows: []demoRow{}}
	if options.json { // stdout has one document and nothing else
		run.Streams.Out = s.Streams.Err
	}
	started := time.Now()
	err := run.all(ctx)
	if options.json {
		return errors.Join(err, flags.WriteJSON(out, run.rows))
	}
	if len(run.rows) > 0 {
		fmt.Fprintln(out)
		writeDemo(s, run.rows, options.theme)
		fmt.Fprintf(out, "\n%s\n", strings.Join(run.roots, "\n"))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s no collisions: the same names, ports and tags in %d jobs, each with a runner and a Docker daemon of its own; root inside, nobody on the host\n", options.theme.Check(), len(run.rows))
	fmt.Fprintf(out, "%s queued to first step: %.2fs (median); nothing left at GitHub or on the host; %s in total\n", options.theme.Check(), medianStart(run.rows).Seconds(), ui.Duration(time.Since(started)))
	return nil
}

// all does everything except the summary, and removes everything that it made.
func (r *demo) all(ctx context.Context) (err error) {
	if r.config.Image.Agent, err = demoAgent(r.agent); err != nil {
		return err
	}
	if err := runDoctor(ctx, r.Session, doctorOptions{config: r.config, checks: doctor.Catalogue(), theme: r.theme}); err != nil {
		return err
	}
	fmt.Fprintln(r.Streams.Out)
	if r.engine, _, err = r.Connect(); err != nil {
		return err
	}
	defer r.engine.Close()
	github, done, err := startDemoGitHub(ctx, r.engine, &r.config)
	if err != nil {
		return err
	}
	defer done()
	r.github = github
	err = r.runWaves(ctx)
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	down := lifecycle.Down{Settings: r.config, Fleet: r.config.Name, Wait: endLimit, Force: true, Theme: r.theme}
	return errors.Join(err, down.Run(whole, r.Session), r.nothingLeft(whole))
}

// startDemoGitHub starts the stand-in at an address that the runners reach, and points the
// settings at it.
func startDemoGitHub(ctx context.Context, engine *dockerx.Engine, settings *config.Config) (github *ghsim.Server, done func(), err error) {
	bridge, err := engine.Bridge(ctx)
	if err != nil {
		return nil, nil, err
	}
	if github, err = ghsim.Start(ghsim.Options{RunnerAddress: net.JoinHostPort(bridge.String(), "0")}); err != nil {
		return nil, nil, hint.Add(err, "the demo needs an engine on this machine, because its runners connect back to it")
	}
	folder, err := os.MkdirTemp("", "runnerctl-demo-")
	if err != nil {
		github.Close()
		return nil, nil, fmt.Errorf("stand-in GitHub: %w", err)
	}
	done = func() {
		github.Close()
		_ = os.RemoveAll(folder) // its CA and token are worthless now
	}
	settings.Target, settings.GitHub = github.URL+"/acme/api", config.GitHub{CAFile: filepath.Join(folder, "ca.pem"), TokenFlag: filepath.Join(folder, "token")}
	for path, content := range map[string][]byte{settings.GitHub.CAFile: github.CA(), settings.GitHub.TokenFlag: []byte(github.ClassicToken(time.Hour, "repo"))} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			done()
			return nil, nil, fmt.Errorf("stand-in GitHub: %w", err)
		}
	}
	return github, done, nil
}

// runWaves runs all waves. Before each wave, up converges to three runners again, because each
// runner is gone after its job.
func (r *demo) runWaves(ctx context.Context) error {
	up := lifecycle.Up{Fleet: lifecycle.Fleet{Settings: r.config, Build: r.build, Ready: time.Duration(r.config.Runners.ReadyTimeout), Theme: r.theme}}
	var failures []error
	for i, jobs := range r.waves {
		if err := up.Run(ctx, r.Session); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, waveLimit)
		err := r.wave(bounded, i+1, jobs)
		cancel()
		var wrong *demoError
		if err != nil && !errors.As(err, &wrong) {
			return errors.Join(append(failures, err)...)
		}
		failures = append(failures, err)
	}
	return errors.Join(append(failures, collisions(r.rows))...)
}

// wave queues jobs and waits until they and their runners have ended.
func (r *demo) wave(ctx context.Context, number int, jobs []demoJob) error {
	runners, err := r.engine.Runners(ctx, r.config.Name)
	if err != nil {
		return err
	}
	for _, script := range preparation(jobs) {
		if err := r.everywhere(ctx, runners, script); err != nil {
			return err
		}
	}
	show := r.NewProgress("auto", r.theme)
	defer show.Close()
	ids := make([]int64, len(jobs))
	for i, job := range jobs {
		workflow, err := job.workflow()
		if err != nil {
			return err
		}
		if ids[i], err = r.github.Queue(workflow); err != nil {
			return err
		}
		show.Working(job.name, "queued")
	}
	if number == 1 {
		if err := r.lookForRoot(ctx, runners); err != nil {
			return err
		}
	}
	failures := make([]error, len(jobs))
	for left := len(jobs); left > 0; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wave %d: %d jobs have not ended: %w", number, left, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
		for i, job := range jobs {
			result, _ := r.github.Result(ids[i])
			switch {
			case ids[i] == 0:
			case result.Status != "completed":
				show.Working(job.name, result.Status+" "+result.Runner+" "+currentStep(result))
			default:
				ids[i] = 0
				left--
				r.rows = append(r.rows, newDemoRow(job, number, result))
				if failures[i] = job.judge(result); failures[i] != nil {
					show.Failed(job.name, failures[i])
				} else {
					show.Done(job.name, result.Conclusion+", as expected, on "+result.Runner, result.Completed.Sub(result.Queued))
				}
			}
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return r.ended(ctx)
}

func currentStep(result ghsim.Result) string {
	for _, step := range result.Steps {
		if step.Status == "in_progress" {
			return step.Name
		}
	}
	return ""
}

// everywhere runs a script in all runners in parallel.
func (r *demo) everywhere(ctx context.Context, runners []fleet.Runner, script string) error {
	title, text, err := demoScript(script)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, runner := range runners {
		group.Go(func() error {
			_, err := r.output(ctx, runner, title, text)
			return err
		})
	}
	return group.Wait()
}

// output returns the output of a script in a runner's machine.
func (r *demo) output(ctx context.Context, runner fleet.Runner, title, text string) (string, error) {
	var output bytes.Buffer
	code, err := r.engine.Exec(ctx, runner, dockerx.Command{Args: []string{"sh", "-c", text}, Stdout: &output, Stderr: &output})
	said := strings.TrimSpace(output.String())
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, said)
	}
	if err != nil {
		return "", fmt.Errorf("runner %s: %s: %w", runner.Name, title, err)
	}
	return said, nil
}

// lookForRoot counts the processes of uid 0 as the runners see them and as the host sees them.
// On the host there must be none.
func (r *demo) lookForRoot(ctx context.Context, runners []fleet.Runner) error {
	var inside, outside []string
	for _, runner := range runners {
		count, err := r.output(ctx, runner, "its processes", "ps -e -o uid= | grep -cw 0")
		if err != nil {
			return err
		}
		uids, err := r.engine.HostUIDs(ctx, runner)
		if err != nil {
			return err
		}
		all := 0
		for _, processes := range uids {
			all += processes
		}
		root := uids["0"] + uids["root"]
		inside = append(inside, count)
		outside = append(outside, fmt.Sprintf("%d of %d (uid %s)", root, all, strings.Join(slices.Sorted(maps.Keys(uids)), ", ")))
		if root > 0 {
			return &demoError{problem: fmt.Sprintf("runner %s has %d processes of uid 0 on the host", runner.Name, root)}
		}
	}
	r.roots = []string{"processes of uid 0, seen inside:        " + strings.Join(inside, " · "), "processes of uid 0, seen from the host: " + strings.Join(outside, " · ")}
	return nil
}

// ended waits until the runners, which have had their job, have ended.
func (r *demo) ended(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	for {
		runners, err := r.engine.Runners(bounded, r.config.Name)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(runners, func(one fleet.Runner) bool { return one.State == fleet.Running })
		if at < 0 {
			return nil
		}
		select {
		case <-bounded.Done():
			return fmt.Errorf("runner %s completed its job but did not end: %w", runners[at].Name, bounded.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// nothingLeft reports anything that down should have removed and did not.
func (r *demo) nothingLeft(ctx context.Context) error {
	runners, err := r.engine.Runners(ctx, r.config.Name)
	if err != nil {
		return err
	}
	inventory, err := r.engine.Inventory(ctx, false)
	if err != nil {
		return err
	}
	volumes := slices.DeleteFunc(inventory.Volumes, func(one prune.Volume) bool { return one.Fleet != r.config.Name })
	if listed := r.github.Runners(); len(listed) > 0 || len(runners) > 0 || len(volumes) > 0 {
		return &demoError{problem: fmt.Sprintf("left behind: %d registrations, %d runners, %d volumes", len(listed), len(runners), len(volumes))}
	}
	return nil
}
