package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

const acme = "https://github.com/acme"

// outside is an Engine and a GitHub client in one, so that each sees changes of the other: an agent
// connects once its runner has a credential.
type outside struct {
	mu            sync.Mutex
	runners       map[string]fleet.Runner
	registrations map[string]fleet.Registration
	hidden        map[string]fleet.Registration // not listed to this fleet, but their names are taken
	nextID        int64
	lists         int
	listErrs      []error // errors of the next lists
	events        []string

	registerErr, createErr error
	unregisterErr          error
	creating               func()                        // called before each creation
	connect                func(w *outside, name string) // behavior of an agent after its start
	onRemove               func(w *outside, name string)

	proofs map[string]bool // by image

	// For supervisors.
	knownErr  error
	listeners []chan fleet.Change
	calls     int             // API calls to GitHub, one per page of a list
	orphaned  int             // calls of RemoveOrphans
	worked    map[string]bool // runners that had a job
}

func newOutside() *outside {
	return &outside{runners: map[string]fleet.Runner{}, registrations: map[string]fleet.Registration{}, worked: map[string]bool{}, proofs: map[string]bool{supervisedSpec.ImageID: true}, connect: (*outside).online}
}

func (w *outside) Proven(_ context.Context, image string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proofs[image], nil
}

func (w *outside) Prove(_ context.Context, image string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proofs[image] = true
	return nil
}

func (w *outside) note(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *outside) online(name string) {
	one := w.registrations[name]
	if one.ID == 0 { // registered by token
		w.nextID++
		one = fleet.Registration{URL: acme, ID: w.nextID, Name: name}
	}
	one.Online = true
	w.registrations[name] = one
}

func (w *outside) through(name string) { w.end(name, 0) }

func (w *outside) end(name string, code int) {
	runner := w.runners[name]
	runner.State, runner.ExitCode = fleet.Exited, code
	w.runners[name] = runner
	w.tell(fleet.Change{Runner: name, Kind: fleet.Died})
	if code == 0 {
		delete(w.registrations, name)
	} else {
		w.disconnect(name)
	}
}

func (w *outside) disconnect(name string) {
	if one, listed := w.registrations[name]; listed {
		one.Online = false
		w.registrations[name] = one
	}
}

func (w *outside) setBusy(name string, busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.registrations[name]
	one.Busy = busy
	w.registrations[name] = one
}

func (w *outside) all() (runners, registrations []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.runners {
		runners = append(runners, name)
	}
	for name := range w.registrations {
		registrations = append(registrations, name)
	}
	slices.Sort(runners)
	slices.Sort(registrations)
	return runners, registrations
}

// Methods of Engine.

func (w *outside) LastLines(context.Context, fleet.Runner, int) []string {
	return []string{"its last line"}
}
func (w *outside) Ended(_ context.Context, of fleet.Runner) (int, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	runner := w.runners[of.Name]
	return runner.ExitCode, runner.State == fleet.Exited, nil
}

func (w *outside) Create(_ context.Context, name string, spec fleet.Spec, start fleet.Start, credential secret.Text) (fleet.Runner, error) {
	if start == fleet.Spare {
		return w.createSpare(name, spec)
	}
	if w.creating != nil {
		w.creating()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("create %s", name)
	if w.createErr != nil {
		return fleet.Runner{}, w.createErr
	}
	if want := string(spec.Agent.Mode) + " for " + name; spec.Agent.Mode != fleet.NoAgent && credential.Reveal() != want {
		return fleet.Runner{}, fmt.Errorf("credential %q, want %q", credential.Reveal(), want)
	}
	runner := w.start(name, spec)
	if spec.Agent.Mode != fleet.NoAgent {
		w.connects(name)
	}
	return fleet.Runner{Name: name, Fleet: spec.Fleet, ContainerID: runner.ContainerID}, nil
}

func (w *outside) start(name string, spec fleet.Spec) fleet.Runner {
	runner := fleet.Runner{Name: name, Fleet: spec.Fleet, ContainerID: "id-" + name, State: fleet.Running, Created: time.Now(), Agent: spec.Agent, ImageID: spec.ImageID, SpecHash: spec.Hash()}
	w.runners[name] = runner
	return runner
}

func (w *outside) connects(name string) {
	time.AfterFunc(10*time.Millisecond, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.runners[name].State == fleet.Running {
			w.connect(w, name)
		}
	})
}

func (w *outside) WaitReady(ctx context.Context, _ fleet.Runner) (string, error) {
	select {
	case <-ctx.Done():
		return "", errors.New("the time limit was reached") // as dockerx does
	case <-time.After(5 * time.Millisecond):
		return "26.1", nil
	}
}

func (w *outside) Cancel(_ context.Context, runner fleet.Runner) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("cancel %s", runner.Name)
	return nil
}

func (w *outside) Remove(_ context.Context, runner fleet.Runner) error {
	return w.removed("remove", runner)
}

func (w *outside) RemoveAtOnce(_ context.Context, runner fleet.Runner) error {
	return w.removed("remove at once", runner)
}

func (w *outside) removed(how string, runner fleet.Runner) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("%s %s", how, runner.Name)
	delete(w.runners, runner.Name)
	w.disconnect(runner.Name)
	w.tell(fleet.Change{Runner: runner.Name, Kind: fleet.Destroyed})
	if w.onRemove != nil {
		w.onRemove(w, runner.Name)
	}
	return nil
}

// Methods of GitHub.

func (w *outside) Register(_ context.Context, name string, agent fleet.Agent) (secret.Text, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("register %s", name)
	w.calls++
	if w.registerErr != nil {
		return secret.Text{}, w.registerErr
	}
	if w.registrations[name].ID != 0 || w.hidden[name].ID != 0 {
		return secret.Text{}, fmt.Errorf("409: %w", fleet.ErrNameTaken)
	}
	if agent.Mode == fleet.JIT {
		w.nextID++
		w.registrations[name] = fleet.Registration{URL: acme, ID: w.nextID, Name: name}
	}
	return secret.New(string(agent.Mode) + " for " + name), nil
}

func (w *outside) Registrations(context.Context) (all []fleet.Registration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	w.calls += max(1, (len(w.registrations)+99)/100)
	if len(w.listErrs) > 0 {
		err := w.listErrs[0]
		w.listErrs = w.listErrs[1:]
		if err != nil {
			return nil, err
		}
	}
	for _, one := range w.registrations {
		all = append(all, one)
	}
	return all, nil
}

func (w *outside) Find(_ context.Context, name string) (*fleet.Registration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if one, listed := w.registrations[name]; listed {
		return &one, nil
	}
	return nil, nil
}

func (w *outside) Unregister(_ context.Context, registration fleet.Registration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.unregisterErr != nil {
		return w.unregisterErr
	}
	if w.registrations[registration.Name].Busy {
		w.note("refuse %s", registration.Name)
		return &fleet.BusyError{Name: registration.Name, Err: errors.New("422")}
	}
	w.note("unregister %s", registration.Name)
	delete(w.registrations, registration.Name)
	return nil
}

func (w *outside) JobURLs(context.Context) (map[string]string, error) {
	return nil, errors.ErrUnsupported
}

// tell sends a change to all listeners. It drops changes for slow listeners, which still see
// the result in their next look.
func (w *outside) tell(change fleet.Change) {
	for _, listener := range w.listeners {
		select {
		case listener <- change:
		default:
		}
	}
}

func (w *outside) Changes(ctx context.Context, _ string) (<-chan fleet.Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.knownErr != nil {
		return nil, w.knownErr
	}
	listener := make(chan fleet.Change, 100)
	w.listeners = append(w.listeners, listener)
	context.AfterFunc(ctx, func() { w.hangUp(listener) })
	return listener, nil
}

func (w *outside) hangUp(listener chan fleet.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.listeners, listener); i >= 0 {
		w.listeners = slices.Delete(w.listeners, i, i+1)
		close(listener)
	}
}

func (w *outside) Known(_ context.Context, fleet string) (all []fleet.Runner, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.knownErr != nil {
		return nil, w.knownErr
	}
	for _, runner := range w.runners {
		if runner.Fleet == fleet {
			runner.Waiting, runner.Problem = false, "" // known only after a look inside
			all = append(all, runner)
		}
	}
	return all, nil
}

func (w *outside) Look(_ context.Context, of fleet.Runner) fleet.Runner {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.runners[of.Name]
	of.Ready, of.Waiting, of.Problem = one.Problem == "", one.Waiting, one.Problem
	return of
}

func (w *outside) createSpare(name string, spec fleet.Spec) (fleet.Runner, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("spare %s", name)
	if w.createErr != nil {
		return fleet.Runner{}, w.createErr
	}
	runner := w.start(name, spec)
	runner.Start, runner.Waiting = fleet.Spare, true
	w.runners[name] = runner
	return fleet.Runner{Name: name, Fleet: spec.Fleet, ContainerID: runner.ContainerID}, nil
}

func (w *outside) Give(_ context.Context, of fleet.Runner, credential secret.Text, _ fleet.Spec) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("give %s", of.Name)
	runner := w.runners[of.Name]
	if !runner.Waiting || runner.State != fleet.Running || credential.Reveal() != "jit for "+of.Name {
		return fmt.Errorf("%s can't take %q", of.Name, credential.Reveal())
	}
	runner.Waiting = false
	w.runners[of.Name] = runner
	w.connects(of.Name)
	return nil
}

func (w *outside) PostMortem(_ context.Context, of fleet.Runner) (fleet.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	runner := w.runners[of.Name]
	record := fleet.Record{Name: of.Name, Fleet: of.Fleet, ExitCode: runner.ExitCode, Log: []byte("agent: one\nagent: its last line\n")}
	if w.worked[of.Name] {
		record.Job, record.JobURL, record.Conclusion = "build", acme+"/api/actions/runs/1", "success"
	}
	return record, nil
}

func (w *outside) RemoveOrphans(context.Context, string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.orphaned++
	return nil
}

// memory is a Store.
type memory struct {
	mu      sync.Mutex
	desired *fleet.Desired
	events  []fleet.Event
	records map[string]fleet.Record
	err     error
}

func (m *memory) Desired(context.Context) (*fleet.Desired, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.desired, m.err
}

func (m *memory) SaveDesired(_ context.Context, desired fleet.Desired) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.desired = &desired
	return m.err
}

func (m *memory) AppendEvents(_ context.Context, events []fleet.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.events = append(m.events, events...)
	}
	return m.err
}

func (m *memory) Events(context.Context) ([]fleet.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events), m.err
}

func (m *memory) SaveRecord(_ context.Context, record fleet.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[record.Name] = record
	return m.err
}

func (m *memory) Records(context.Context) ([]fleet.Record, error) { return nil, errors.ErrUnsupported }

func (m *memory) Record(_ context.Context, name string) (*fleet.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record, kept := m.records[name]
	if !kept {
		return nil, nil
	}
	return &record, nil
}

// Methods of Observer.

type progressLog struct {
	mu   sync.Mutex
	done map[string]string
}

func (o *progressLog) Working(string, string) {}

func (o *progressLog) Done(name, text string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		o.done = map[string]string{}
	}
	o.done[name] = text
}

func (o *progressLog) Failed(name string, err error) { o.Done(name, "failed: "+err.Error(), 0) }
