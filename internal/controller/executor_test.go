package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

var (
	jitSpec   = fleet.Spec{Fleet: "ci", Agent: fleet.Agent{Mode: fleet.JIT, URL: acme, Ephemeral: true}}
	tokenSpec = fleet.Spec{Fleet: "ci", Agent: fleet.Agent{Mode: fleet.Token, URL: acme}}
)

func creates(names ...string) (plan fleet.Plan) {
	for _, name := range names {
		plan.Operations = append(plan.Operations, fleet.Operation{Action: fleet.Create, Name: name})
	}
	return plan
}

// removes plans the removal of runners and registrations as Reconcile does for down.
func removes(runners []fleet.Runner, orphans ...fleet.Registration) fleet.Plan {
	observation := fleet.Observation{Now: time.Now(), Desired: fleet.Desired{Policy: fleet.Policy{Down: true}}, Orphans: orphans}
	for _, runner := range runners {
		observation.Runners = append(observation.Runners, fleet.Observed{Runner: runner})
	}
	return fleet.Reconcile(observation)
}

// execute carries a plan out once, and returns the last report on each runner.
func execute(t *testing.T, w *outside, plan fleet.Plan, desired fleet.Desired) (map[string]string, error) {
	t.Helper()
	var progress progressLog
	err := executeIn(t.Context(), Controller{Engine: w, Targets: fleet.Targets{acme: w}, Progress: &progress}, plan, desired)
	return progress.done, err
}

func executeIn(ctx context.Context, c Controller, plan fleet.Plan, desired fleet.Desired) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	desired.Policy.Once, desired.Policy.Down = true, desired.Policy.JobWait > 0 || desired.Policy.Force
	c.Fleet = "ci"
	l := newLoop(life, c, desired)
	for _, operation := range plan.Operations {
		if operation.Runner.Name != "" {
			l.observed[operation.Name] = &fleet.Observed{Runner: operation.Runner}
		}
		l.begin(ctx, operation)
	}
	return l.finish(ctx)
}

// standing returns a runner that is up and online.
func (w *outside) standing(name string, agent fleet.Agent) fleet.Runner {
	w.online(name)
	runner := fleet.Runner{Name: name, Fleet: "ci", ContainerID: "id-" + name, State: fleet.Running, Ready: true, DockerVersion: "26.1", Agent: agent}
	w.runners[name] = runner
	return runner
}

func TestUpWithAgents(t *testing.T) {
	for _, spec := range []fleet.Spec{jitSpec, tokenSpec} {
		t.Run(string(spec.Agent.Mode), func(t *testing.T) {
			w := newOutside()
			var names []string
			for i := range 40 {
				names = append(names, fmt.Sprintf("ci-%02d", i))
			}
			done, err := execute(t, w, creates(names...), fleet.Desired{Spec: spec, Ready: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if done[name] != "daemon 26.1, online" {
					t.Errorf("%s: %s", name, done[name])
				}
				if slices.Index(w.events, "register "+name) > slices.Index(w.events, "create "+name) {
					t.Errorf("%s is made before its credential", name)
				}
			}
			if w.lists > 10 {
				t.Errorf("%d lists for 40 runners", w.lists)
			}
		})
	}
}

func TestNothingStaysOfWhatFails(t *testing.T) {
	tests := []struct {
		name   string
		spec   fleet.Spec
		change func(*outside)
		want   func(error) bool
	}{
		{"register", jitSpec, func(w *outside) { w.registerErr = errors.New("no") }, func(err error) bool { return strings.Contains(err.Error(), "no") }},
		{"create", jitSpec, func(w *outside) { w.createErr = errors.New("disk full") }, func(err error) bool { return strings.Contains(err.Error(), "disk full") }},
		{"never online", jitSpec, func(w *outside) { w.connect = func(*outside, string) {} }, func(err error) bool {
			var late *fleet.NotOnlineError
			return errors.As(err, &late) && late.State == fleet.Offline && late.Lines[0] == "its last line"
		}},
		{"never listed", tokenSpec, func(w *outside) { w.connect = func(*outside, string) {} }, func(err error) bool {
			var late *fleet.NotOnlineError
			return errors.As(err, &late) && late.State == fleet.NotListed
		}},
		{"the agent ends", jitSpec, func(w *outside) { w.connect = func(w *outside, name string) { w.end(name, 7) } }, func(err error) bool {
			var ended *fleet.EndedError
			return errors.As(err, &ended) && ended.Code == 7
		}},
		{"registered at the last moment", tokenSpec, func(w *outside) { w.connect, w.onRemove = func(*outside, string) {}, (*outside).online }, func(err error) bool { return err != nil }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newOutside()
			test.change(w)
			_, err := execute(t, w, creates("ci-a", "ci-b"), fleet.Desired{Spec: test.spec, Ready: time.Second})
			if err == nil || !test.want(err) {
				t.Errorf("%v", err)
			}
			if runners, registrations := w.all(); len(runners)+len(registrations) > 0 {
				t.Errorf("left: %v %v", runners, registrations)
			}
			if i := slices.IndexFunc(w.events, func(event string) bool { return strings.HasPrefix(event, "remove ci-") }); i >= 0 {
				t.Errorf("%q, and it may not have heard that it was to stop", w.events[i])
			}
		})
	}
}

// If GitHub can't be queried, the runner may have a job, so it is removed gracefully.
func TestUndoWithoutGitHubIsGraceful(t *testing.T) {
	w := newOutside()
	w.connect, w.unregisterErr = func(*outside, string) {}, errors.New("502")
	if _, err := execute(t, w, creates("ci-a"), fleet.Desired{Spec: jitSpec, Ready: time.Second}); err == nil || !strings.Contains(err.Error(), "502") {
		t.Error(err)
	}
	if runners, _ := w.all(); len(runners) > 0 || !slices.Contains(w.events, "remove ci-a") || slices.Contains(w.events, "remove at once ci-a") {
		t.Errorf("left: %v, after %q", runners, w.events)
	}
}

// When all runners fail together, all slots are taken and each failure has something to undo.
func TestAllFailTogether(t *testing.T) {
	for _, interrupt := range []bool{false, true} {
		w := newOutside()
		w.createErr = errors.New("disk full")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var names []string
		for i := range 2 * atOnce {
			names = append(names, fmt.Sprintf("ci-%02d", i))
		}
		arrived := make(chan struct{})
		var count atomic.Int32
		w.creating = func() {
			if count.Add(1) == atOnce {
				close(arrived)
			}
			<-arrived
			if interrupt {
				cancel()
			}
		}
		ended := make(chan error, 1)
		go func() {
			ended <- executeIn(ctx, Controller{Engine: w, Targets: fleet.Targets{acme: w}, Progress: &progressLog{}}, creates(names...), fleet.Desired{Spec: jitSpec, Ready: time.Second})
		}()
		select {
		case err := <-ended:
			if interrupt != errors.Is(err, context.Canceled) || !interrupt && strings.Count(err.Error(), "disk full") != len(names) {
				t.Errorf("interrupted %t: %v", interrupt, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("interrupted %t: they wait for each other", interrupt)
		}
		if runners, registrations := w.all(); len(runners)+len(registrations) > 0 {
			t.Errorf("interrupted %t: left: %v %v", interrupt, runners, registrations)
		}
	}
}

// A runner may finish its one job before the first check.
func TestThroughAtOnce(t *testing.T) {
	w := newOutside()
	w.connect = (*outside).through
	done, err := execute(t, w, creates("ci-a"), fleet.Desired{Spec: jitSpec, Ready: time.Second})
	if err != nil || done["ci-a"] != "daemon 26.1, had its job already" {
		t.Error(done, err)
	}
}

func TestInterruptedUpWithAgents(t *testing.T) {
	w := newOutside()
	w.connect = func(w *outside, name string) {
		if w.online(name); name == "ci-busy" {
			one := w.registrations[name]
			one.Busy = true
			w.registrations[name] = one
		}
		if name == "ci-late" {
			delete(w.registrations, name)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	time.AfterFunc(700*time.Millisecond, func() { cancel(interrupted) })
	err := executeIn(ctx, Controller{Engine: w, Targets: fleet.Targets{acme: w}, Progress: &progressLog{}}, creates("ci-a", "ci-busy", "ci-late"), fleet.Desired{Spec: jitSpec, Ready: 10 * time.Second})
	if !errors.Is(err, interrupted) {
		t.Error(err)
	}
	if runners, registrations := w.all(); !slices.Equal(runners, []string{"ci-busy"}) || !slices.Equal(registrations, runners) {
		t.Errorf("left: %v %v, want what has a job", runners, registrations)
	}
}

func TestDown(t *testing.T) {
	w := newOutside()
	idle, busy := w.standing("ci-idle", jitSpec.Agent), w.standing("ci-busy", jitSpec.Agent)
	ended := w.standing("ci-ended", jitSpec.Agent)
	w.through("ci-ended")
	ended.State = fleet.Exited
	w.setBusy("ci-busy", true)
	time.AfterFunc(time.Second, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note("job ends")
		w.through("ci-busy")
	})
	plan := removes([]fleet.Runner{idle, busy, ended}, fleet.Registration{URL: acme, Name: "ci-gone", ID: 99})
	done, err := execute(t, w, plan, fleet.Desired{Policy: fleet.Policy{JobWait: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	if runners, registrations := w.all(); len(runners)+len(registrations) > 0 {
		t.Errorf("left: %v %v", runners, registrations)
	}
	at := func(event string) int { return slices.Index(w.events, event) }
	if at("unregister ci-idle") < 0 || at("unregister ci-idle") > at("remove ci-idle") || at("remove ci-idle") > at("job ends") || at("job ends") > at("remove ci-busy") {
		t.Errorf("%v", w.events)
	}
	if done["ci-gone"] != "registration removed" || at("unregister ci-gone") < 0 {
		t.Errorf("%v", done)
	}
}

// If a job begins between the look and the removal, GitHub's refusal reveals it.
func TestJobThatBeginsMeanwhile(t *testing.T) {
	for _, down := range []bool{true, false} {
		w := newOutside()
		runner := w.standing("ci-a", tokenSpec.Agent)
		w.setBusy("ci-a", true)
		desired := fleet.Desired{}
		if down {
			desired.Policy.JobWait = 300 * time.Millisecond
		}
		done, err := execute(t, w, removes([]fleet.Runner{runner}), desired)
		var still *StillBusyError
		if down != errors.As(err, &still) || !down && done["ci-a"] != "stays, it has a job" {
			t.Errorf("down %v: %v %v", down, done, err)
		}
		if runners, registrations := w.all(); len(runners) != 1 || len(registrations) != 1 {
			t.Errorf("left: %v %v, want both", runners, registrations)
		}
	}
}

func TestForce(t *testing.T) {
	w := newOutside()
	runner := w.standing("ci-a", tokenSpec.Agent)
	w.setBusy("ci-a", true)
	w.onRemove = func(w *outside, name string) { time.AfterFunc(100*time.Millisecond, func() { w.setBusy(name, false) }) }
	started := time.Now()
	if _, err := execute(t, w, removes([]fleet.Runner{runner}), fleet.Desired{Policy: fleet.Policy{JobWait: time.Hour, Force: true}}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"refuse ci-a", "cancel ci-a", "remove ci-a"}; !slices.Equal(w.events[:3], want) {
		t.Errorf("%v", w.events)
	}
	if runners, registrations := w.all(); len(runners)+len(registrations) > 0 || time.Since(started) > 5*time.Second {
		t.Errorf("left after %s: %v %v", time.Since(started), runners, registrations)
	}
	// The same without any access to GitHub.
	runner = w.standing("ci-b", jitSpec.Agent)
	if err := executeIn(t.Context(), Controller{Engine: w}, removes([]fleet.Runner{runner}), fleet.Desired{Policy: fleet.Policy{JobWait: time.Hour, Force: true}}); err != nil {
		t.Error(err)
	}
	if err := executeIn(t.Context(), Controller{Engine: w}, removes([]fleet.Runner{runner}), fleet.Desired{Policy: fleet.Policy{JobWait: time.Hour}}); err == nil {
		t.Error("a runner was removed whose registration stays")
	}
}

// converge runs the loop with the outside's fleet, and returns the last report on each runner.
func converge(t *testing.T, w *outside, desired fleet.Desired) (map[string]string, error) {
	t.Helper()
	desired.Policy.Once = true
	var progress progressLog
	names := []string{"ci-b", "ci-c", "ci-d"}
	c := Controller{Fleet: "ci", Engine: w, Targets: fleet.Targets{acme: w}, Progress: &progress, NewName: func() string {
		next := names[0]
		names = append(names[1:], next)
		return next
	}}
	err := c.Converge(t.Context(), desired)
	return progress.done, err
}

func TestKeepWithAgents(t *testing.T) {
	desired := fleet.Desired{Count: 1, Spec: jitSpec, Ready: 500 * time.Millisecond}
	offline := fleet.Registration{URL: acme, ID: 1, Name: "ci-a"}
	kept := func(w *outside) bool {
		runners, _ := w.all()
		return slices.Equal(runners, []string{"ci-a"})
	}
	t.Run("online", func(t *testing.T) {
		w := newOutside()
		w.standing("ci-a", jitSpec.Agent)
		if done, err := converge(t, w, desired); err != nil || len(done) != 1 || done["ci-a"] != "daemon 26.1" || !kept(w) || w.lists != 1 {
			t.Errorf("error %v, reports %v, runners %v, %d lists; want it untouched after one list", err, done, w.runners, w.lists)
		}
	})
	t.Run("comes online", func(t *testing.T) {
		w := newOutside()
		w.standing("ci-a", jitSpec.Agent)
		w.registrations["ci-a"] = offline
		time.AfterFunc(100*time.Millisecond, func() { w.do(func() { w.online("ci-a") }) })
		if done, err := converge(t, w, desired); err != nil || done["ci-a"] != "daemon 26.1, online" || !kept(w) {
			t.Errorf("error %v, reports %v, runners %v; want it adopted", err, done, w.runners)
		}
	})
	t.Run("GitHub fails meanwhile", func(t *testing.T) {
		w := newOutside()
		w.standing("ci-a", jitSpec.Agent)
		w.registrations["ci-a"] = offline
		w.listErrs = append([]error{nil}, slices.Repeat([]error{errors.New("502")}, 100)...)
		var late *fleet.NotOnlineError
		if _, err := converge(t, w, desired); !errors.As(err, &late) || !kept(w) {
			t.Errorf("error %v, runners %v; want a NotOnlineError, and the runner kept", err, w.runners)
		}
	})
	t.Run("has a job", func(t *testing.T) {
		w := newOutside()
		w.standing("ci-a", jitSpec.Agent)
		w.setBusy("ci-a", true)
		if _, err := converge(t, w, desired); err != nil || !kept(w) {
			t.Errorf("error %v, runners %v; want the runner kept", err, w.runners)
		}
	})
	t.Run("offline all the time", func(t *testing.T) {
		w := newOutside()
		w.standing("ci-a", jitSpec.Agent)
		w.registrations["ci-a"] = offline
		done, err := converge(t, w, desired)
		if err != nil || !strings.Contains(done["ci-a"], "GitHub shows it as offline") || done["ci-b"] != "daemon 26.1, online" {
			t.Errorf("error %v, reports %v; want ci-b in its place", err, done)
		}
		if runners, registrations := w.all(); !slices.Equal(runners, []string{"ci-b"}) || !slices.Equal(registrations, runners) {
			t.Errorf("runners %v, registrations %v; want ci-b only", runners, registrations)
		}
	})
}

// A killed runnerctl may leave a runner without a credential. Such a runner soon ends.
func TestKeptRunnerThatEnds(t *testing.T) {
	w := newOutside()
	w.standing("ci-a", jitSpec.Agent)
	w.registrations["ci-a"] = fleet.Registration{URL: acme, ID: 1, Name: "ci-a"}
	time.AfterFunc(100*time.Millisecond, func() { w.do(func() { w.end("ci-a", 78) }) })
	done, err := converge(t, w, fleet.Desired{Count: 1, Spec: jitSpec, Ready: 10 * time.Second})
	if err != nil || done["ci-a"] != "removed: it ended: "+fleet.Verdict(78, false) || done["ci-b"] != "daemon 26.1, online" {
		t.Errorf("error %v, reports %v; want ci-b in the place of ci-a", err, done)
	}
	if runners, registrations := w.all(); !slices.Equal(runners, []string{"ci-b"}) || !slices.Equal(registrations, runners) {
		t.Errorf("runners %v, registrations %v; want ci-b only", runners, registrations)
	}
}

// If a name is taken at GitHub, another one is tried.
func TestTakenName(t *testing.T) {
	taken := func(name string) fleet.Registration {
		return fleet.Registration{URL: "elsewhere", ID: 8, Name: name, Online: true}
	}
	w := newOutside()
	w.hidden = map[string]fleet.Registration{"ci-b": taken("ci-b"), "ci-c": taken("ci-c")} // since the list was read
	done, err := converge(t, w, fleet.Desired{Count: 1, Spec: jitSpec, Ready: time.Second})
	if err != nil || done["ci-b"] != "the name is taken at GitHub, another one instead" || done["ci-d"] != "daemon 26.1, online" {
		t.Errorf("error %v, reports %v; want ci-d after two names", err, done)
	}
	if runners, registrations := w.all(); !slices.Equal(runners, []string{"ci-d"}) || !slices.Equal(registrations, runners) {
		t.Errorf("runners %v, registrations %v; want ci-d only", runners, registrations)
	}
	w = newOutside()
	w.hidden = map[string]fleet.Registration{"ci-b": taken("ci-b"), "ci-c": taken("ci-c"), "ci-d": taken("ci-d")}
	if _, err := converge(t, w, fleet.Desired{Count: 1, Spec: jitSpec, Ready: time.Second}); !errors.Is(err, fleet.ErrNameTaken) || w.count("register") != drawings {
		t.Errorf("error %v after %d names, want ErrNameTaken after %d", err, w.count("register"), drawings)
	}
}

// down fails if a registration outlives it; up continues.
func TestLeftRegistrations(t *testing.T) {
	busy, connected := fleet.Registration{URL: acme, ID: 8, Name: "ci-busy"}, fleet.Registration{URL: acme, ID: 9, Name: "ci-conn", Online: true}
	w := newOutside()
	w.registrations["ci-busy"] = fleet.Registration{URL: acme, ID: 8, Name: "ci-busy", Busy: true} // since the list was read
	_, err := execute(t, w, removes(nil, busy, connected), fleet.Desired{Policy: fleet.Policy{JobWait: time.Hour}})
	for _, want := range []string{"runner ci-busy stays registered at " + acme + ": it has a job", "runner ci-conn stays registered at " + acme} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	done, err := execute(t, w, fleet.Plan{Operations: []fleet.Operation{{Action: fleet.Forget, Name: busy.Name, Registration: busy}}}, fleet.Desired{Spec: jitSpec})
	if err != nil || !strings.Contains(done["ci-busy"], "until the next up or down: it has a job") {
		t.Error(done, err)
	}
}

// A token that expires halfway leaves whole runners, not halves.
func TestTokenEndsInTheMidst(t *testing.T) {
	w := newOutside()
	denied := fmt.Errorf("401: %w", fleet.ErrDenied)
	w.listErrs, w.unregisterErr = slices.Repeat([]error{denied}, 100), denied
	_, err := execute(t, w, creates("ci-a", "ci-b"), fleet.Desired{Spec: jitSpec, Ready: 10 * time.Second})
	if !errors.Is(err, fleet.ErrDenied) || !strings.Contains(err.Error(), "runner ci-a stays, as its registration does") {
		t.Error(err)
	}
	if runners, registrations := w.all(); !slices.Equal(runners, []string{"ci-a", "ci-b"}) || !slices.Equal(registrations, runners) {
		t.Errorf("%v %v", runners, registrations)
	}
}

// A list that fails is retried until the time limit; a denied one is not.
func TestListsThatFail(t *testing.T) {
	broken, denied := errors.New("502"), fmt.Errorf("401: %w", fleet.ErrDenied)
	waiting := map[string]func(*testing.T, *outside, time.Duration) error{
		"up": func(t *testing.T, w *outside, limit time.Duration) error {
			_, err := execute(t, w, creates("ci-a"), fleet.Desired{Spec: jitSpec, Ready: limit})
			return err
		},
		"down": func(t *testing.T, w *outside, limit time.Duration) error {
			runner := w.standing("ci-a", jitSpec.Agent)
			w.setBusy("ci-a", true)
			time.AfterFunc(100*time.Millisecond, func() { w.setBusy("ci-a", false) })
			_, err := execute(t, w, removes([]fleet.Runner{runner}), fleet.Desired{Policy: fleet.Policy{JobWait: limit}})
			return err
		},
	}
	for name, wait := range waiting {
		t.Run(name, func(t *testing.T) {
			w := newOutside()
			w.listErrs = []error{broken, broken}
			if err := wait(t, w, 10*time.Second); err != nil || w.lists < 3 {
				t.Errorf("after %d lists: %v", w.lists, err)
			}
			w = newOutside()
			w.listErrs = slices.Repeat([]error{broken}, 100)
			err := wait(t, w, time.Second)
			var cause interface{ Cause() string }
			if !errors.Is(err, broken) || !errors.As(err, &cause) || cause.Cause() != "502" {
				t.Errorf("the time is over: %v", err)
			}
			w = newOutside()
			w.listErrs = slices.Repeat([]error{denied}, 100)
			if err := wait(t, w, 10*time.Second); !errors.Is(err, fleet.ErrDenied) || w.lists != 1 {
				t.Errorf("denied, after %d lists: %v", w.lists, err)
			}
		})
	}
}
