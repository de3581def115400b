package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

var supervisedSpec = fleet.Spec{Fleet: "ci", Image: "runner:1", ImageID: "sha256:1", Agent: fleet.Agent{Mode: fleet.JIT, URL: acme, Ephemeral: true}}

// supervised is an outside with a supervisor, in a synctest bubble.
type supervised struct {
	*outside
	t     *testing.T
	store *memory
	kill  context.CancelFunc
	ended chan error
	named int
	with  func(*Controller)
}

// supervise runs happens in an outside with a supervisor that keeps desired, and checks that the
// supervisor ends cleanly.
func supervise(t *testing.T, desired fleet.Desired, prepare func(s *supervised), happens func(s *supervised)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if desired.Spec.Fleet == "" {
			desired.Spec = supervisedSpec
		}
		desired.Schema, desired.Ready = fleet.DesiredSchema, time.Minute
		s := &supervised{outside: newOutside(), t: t, store: &memory{desired: &desired, records: map[string]fleet.Record{}}}
		s.onRemove = func(_ *outside, name string) {
			if record, _ := s.store.Record(t.Context(), name); record == nil {
				t.Errorf("%s is removed before there is a record of it", name)
			}
		}
		if prepare != nil {
			prepare(s)
		}
		s.begin()
		happens(s)
		s.stop()
	})
}

func (s *supervised) begin() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.kill, s.ended = cancel, make(chan error, 1)
	supervision := Controller{Fleet: "ci", Engine: s.outside, Targets: fleet.Targets{acme: s.outside}, Store: s.store, NewName: s.newName, Reload: make(chan struct{}),
		Rebuild: func(_ context.Context, desired fleet.Desired) (fleet.Desired, error) {
			return desired, &fleet.NotHereError{Why: "nobody can"}
		}}
	if s.with != nil {
		s.with(&supervision)
	}
	ended := s.ended
	go func() { ended <- supervision.Supervise(ctx) }()
}

func (s *supervised) stop() {
	s.t.Helper()
	s.kill()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
}

func (s *supervised) newName() string {
	number, name := s.named, ""
	s.named++
	for range 4 {
		name = string(fleet.NameLetters[number%len(fleet.NameLetters)]) + name
		number /= len(fleet.NameLetters)
	}
	return "ci-" + name
}

// after waits for pause, and then until all goroutines are idle.
func (s *supervised) after(pause time.Duration) {
	time.Sleep(pause)
	synctest.Wait()
}

// onlineNames returns the names of runners that can take jobs.
func (w *outside) onlineNames() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, one := range w.registrations {
		if one.Online && w.runners[name].State == fleet.Running {
			names = append(names, name)
		}
	}
	return names
}

func (w *outside) count(event string) (count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.events {
		if strings.HasPrefix(one, event) {
			count++
		}
	}
	return count
}

// paid returns the number of calls to the GitHub client.
func (w *outside) paid() (calls int) {
	w.do(func() { calls = w.calls })
	return calls
}

func (w *outside) do(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// eventsOf returns the events of a kind that contain text.
func (s *supervised) eventsOf(kind fleet.EventKind, text string) (found []fleet.Event) {
	s.after(2 * gather)
	events, _ := s.store.Events(s.t.Context())
	for _, one := range events {
		if one.Kind == kind && strings.Contains(one.Text, text) {
			found = append(found, one)
		}
	}
	return found
}

// whole checks that the fleet has exactly the desired runners.
func (s *supervised) whole(online, spares int) {
	s.t.Helper()
	runners, registrations := s.all()
	if got := len(s.onlineNames()); got != online || len(runners) != online+spares || len(registrations) != online {
		s.t.Errorf("%d online of %v, registered %v; want %d and %d spares", got, runners, registrations, online, spares)
		for _, event := range s.store.events {
			s.t.Log(event.Time.Format(time.StampMilli), event.Kind, event.Runner, event.Text)
		}
	}
}

func TestSuperviseMakesAFleet(t *testing.T) {
	supervise(t, fleet.Desired{Count: 4, Spares: 1}, nil, func(s *supervised) {
		s.after(5 * time.Second)
		s.whole(4, 1)
		s.after(time.Hour)
		s.whole(4, 1)
		if got := s.count("create") + s.count("spare"); got != 5 {
			s.t.Errorf("%d runners made for 5", got)
		}
		if len(s.eventsOf(fleet.OnlineEvent, "daemon 26.1, online (")) != 4 || len(s.eventsOf(fleet.SpareEvent, "")) != 1 {
			s.t.Errorf("%v", s.store.events)
		}
	})
}

func TestJobsRunOnce(t *testing.T) {
	const jobs = 200
	supervise(t, fleet.Desired{Count: 4, Spares: 1}, nil, func(s *supervised) {
		var pauses []time.Duration
		used := map[string]bool{}
		var running sync.WaitGroup
		slots := make(chan struct{}, 4)
		for range jobs {
			slots <- struct{}{}
			waited := time.Now()
			var free string
			for free == "" {
				s.do(func() {
					for name, one := range s.registrations {
						if one.Online && !one.Busy {
							one.Busy, free = true, name
							s.registrations[name], s.worked[name] = one, true
							break
						}
					}
				})
				if free == "" {
					time.Sleep(time.Millisecond)
				}
			}
			if used[free] {
				t.Fatalf("%s got a second job", free)
			}
			used[free] = true
			pauses = append(pauses, time.Since(waited))
			running.Go(func() {
				time.Sleep(30 * time.Second)
				s.do(func() { s.through(free) })
				<-slots
			})
		}
		running.Wait()
		s.after(5 * time.Second)
		s.whole(4, 1)
		longest := time.Duration(0)
		for _, pause := range pauses[4:] {
			longest = max(longest, pause)
		}
		if longest > 100*time.Millisecond {
			t.Errorf("a job waited %s though a spare is wished", longest)
		}
		if len(s.store.records) != jobs {
			t.Errorf("%d records", len(s.store.records))
		}
		if got := len(s.eventsOf(fleet.EndedEvent, "it ended: done; job build success")); got != jobs {
			t.Errorf("%d of %d ends were reported", got, jobs)
		}
	})
}

func TestCrashLoopBacksOff(t *testing.T) {
	for _, online := range []bool{false, true} { // whether it ends before or after it came online
		supervise(t, fleet.Desired{Count: 2, Spares: 1}, func(s *supervised) {
			s.connect = func(w *outside, name string) {
				if online {
					w.online(name)
					time.AfterFunc(2*time.Second, func() { w.do(func() { w.end(name, 1) }) })
					return
				}
				w.end(name, 1)
			}
		}, func(s *supervised) {
			s.after(time.Hour)
			if made := s.count("create") + s.count("give"); made < 10 || made > 80 {
				t.Errorf("%d runners made in an hour", made)
			}
			if events := s.eventsOf(fleet.BackOffEvent, "no runner is created for 5m0s: "); len(events) == 0 {
				t.Errorf("no word of the longest pause: %v", s.store.events)
			}
			if !online && s.eventsOf(fleet.BackOffEvent, "")[0].Last[0] != "its last line" {
				t.Errorf("no last lines: %v", s.eventsOf(fleet.BackOffEvent, "")[0])
			}
			s.do(func() { s.connect = (*outside).online })
			s.after(10 * time.Minute)
			s.whole(2, 1)

			// A success resets the back-off, so pauses are short again.
			short := len(s.eventsOf(fleet.BackOffEvent, "no runner is created for 1s: "))
			for range 2 { // the second ends soon after its start
				s.do(func() { s.end(youngest(s.outside), 1) })
				s.after(5 * time.Second)
			}
			s.whole(2, 1)
			if got := len(s.eventsOf(fleet.BackOffEvent, "no runner is created for 1s: ")); got != short+1 {
				t.Errorf("%d short pauses, want %d", got, short+1)
			}
		})
	}
}

// Runners that die together are replaced after the first pause.
func TestKilledTogether(t *testing.T) {
	supervise(t, fleet.Desired{Count: 4, Spares: 1}, nil, func(s *supervised) {
		for range 3 {
			s.after(5 * time.Second)
			s.whole(4, 1)
			s.do(func() {
				for name := range s.runners {
					s.end(name, 137)
				}
			})
		}
		s.after(10 * time.Second)
		s.whole(4, 1)
	})
}

func TestPhantoms(t *testing.T) {
	tests := []struct {
		name string
		make func(s *supervised, name string)
	}{
		{"its registration is gone", func(s *supervised, name string) { delete(s.registrations, name) }},
		{"its session is stale", func(s *supervised, name string) {
			one := s.registrations[name]
			one.Online = false
			s.registrations[name] = one
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			supervise(t, fleet.Desired{Count: 3, Spares: 1}, nil, func(s *supervised) {
				s.after(5 * time.Second)
				phantom := s.onlineNames()[0]
				s.do(func() { test.make(s, phantom) })
				s.after(3 * time.Minute)
				s.whole(3, 1)
				if len(s.eventsOf(fleet.RemovedEvent, "it is running, but GitHub")) != 1 {
					t.Errorf("%v", s.store.events)
				}
			})
		})
	}
	t.Run("back in time", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 3}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			late := s.onlineNames()[0]
			s.do(func() { one := s.registrations[late]; one.Online = false; s.registrations[late] = one })
			s.after(time.Minute)
			s.do(func() { s.online(late) })
			s.after(10 * time.Minute)
			s.whole(3, 0)
			if s.count("remove") > 0 {
				t.Error("it was replaced")
			}
		})
	})
	t.Run("only in the list", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 3}, func(s *supervised) {
			s.with = func(supervision *Controller) { supervision.Targets[acme] = &lagging{outside: s.outside} }
		}, func(s *supervised) {
			s.after(10 * time.Minute)
			if s.count("remove") > 0 {
				t.Error("it was replaced, though it is online")
			}
		})
	})
	t.Run("busy", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 3}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			busy := s.onlineNames()[0]
			s.do(func() { one := s.registrations[busy]; one.Online, one.Busy = false, true; s.registrations[busy] = one })
			s.after(10 * time.Minute)
			if s.count("remove") > 0 {
				t.Error("a runner with a job was replaced")
			}
		})
	})
}

// lagging is a GitHub client whose list loses a registration after a while, although Find still finds
// it.
type lagging struct {
	*outside
	asked int
}

func (l *lagging) Registrations(ctx context.Context) ([]fleet.Registration, error) {
	all, err := l.outside.Registrations(ctx)
	if l.asked++; l.asked > 5 {
		all = slices.DeleteFunc(all, func(one fleet.Registration) bool { return one.Name == "ci-2222" })
	}
	return all, err
}

// youngest returns the youngest runner that is online.
func youngest(w *outside) (name string) {
	for _, runner := range w.runners {
		if w.registrations[runner.Name].Online && (name == "" || runner.Created.After(w.runners[name].Created)) {
			name = runner.Name
		}
	}
	return name
}

// A list that was requested before a runner existed is no evidence about that runner.
func TestListsOfBefore(t *testing.T) {
	now := time.Now()
	w := &witness{url: acme, asked: now, listed: map[string]fleet.Registration{}}
	for since, missed := range map[time.Time]bool{now.Add(-time.Second): true, now.Add(time.Second): false} {
		s := fleet.Observed{Runner: fleet.Runner{Name: "ci-2222", Agent: supervisedSpec.Agent}, Since: since}
		if w.update(&s); s.Missed.IsZero() == missed {
			t.Errorf("since %s: missed %t", since, !missed)
		}
	}
}

func TestWhichEndsSpeakAgainstStarts(t *testing.T) {
	now := time.Now()
	young := fleet.Observed{Runner: fleet.Runner{Name: "ci-2222", State: fleet.Exited, ExitCode: 137, Agent: supervisedSpec.Agent}, Since: now.Add(-time.Second)}
	through, working, grown := young, young, young
	through.ExitCode = 0
	working.Busy = true
	grown.Since = now.Add(-2 * proven)
	for name, test := range map[string]struct {
		sight fleet.Observed
		pause bool
	}{"young": {young, true}, "through": {through, false}, "at work": {working, false}, "grown": {grown, false}} {
		l := newLoop(t.Context(), Controller{Fleet: "ci", Store: &memory{}}, fleet.Desired{})
		if l.checkStart(&test.sight, now); l.making.until.After(now) != test.pause {
			t.Errorf("%s: a pause until %s", name, l.making.until)
		}
	}
}

func TestOrphansAreForgotten(t *testing.T) {
	supervise(t, fleet.Desired{Count: 1}, func(s *supervised) {
		for i, one := range []fleet.Registration{{Name: "ci-zzzz"}, {Name: "ci-yyyy", Online: true}, {Name: "ci-xxxx", Busy: true}, {Name: "other"}} {
			one.ID, one.URL = int64(900+i), acme
			s.registrations[one.Name] = one
		}
	}, func(s *supervised) {
		s.after(10 * time.Second)
		_, registrations := s.all()
		if got, want := fmt.Sprint(registrations), "[ci-2222 ci-xxxx ci-yyyy other]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestRoll(t *testing.T) {
	supervise(t, fleet.Desired{Count: 4, Spares: 1}, nil, func(s *supervised) {
		s.after(5 * time.Second)
		before := s.onlineNames()
		s.setBusy(before[0], true)
		fewest := 4
		s.onRemove = func(w *outside, _ string) {
			online := 0
			for name, one := range w.registrations {
				if one.Online && w.runners[name].State == fleet.Running {
					online++
				}
			}
			fewest = min(fewest, online)
		}
		next := *s.store.desired
		next.Spec.ImageID = "sha256:2"
		_ = s.store.SaveDesired(t.Context(), next)
		s.after(5 * time.Minute)
		if fewest < 3 {
			t.Errorf("%d online while it rolled", fewest)
		}
		s.whole(4, 1)
		old := func() (names []string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for name, runner := range s.runners {
				if runner.ImageID != "sha256:2" {
					names = append(names, name)
				}
			}
			return names
		}
		if got := old(); len(got) != 1 || got[0] != before[0] {
			t.Errorf("of the old image: %v, want %s that has a job", got, before[0])
		}
		s.do(func() { s.through(before[0]) })
		s.after(5 * time.Second)
		s.whole(4, 1)
		if got := old(); len(got) > 0 {
			t.Errorf("of the old image: %v", got)
		}
	})
}

func TestOtherCounts(t *testing.T) {
	supervise(t, fleet.Desired{Count: 4, Spares: 2}, nil, func(s *supervised) {
		reload := make(chan struct{})
		s.stop()
		s.with = func(supervision *Controller) { supervision.Reload = reload }
		s.begin()
		for _, counts := range [][2]int{{2, 0}, {6, 1}, {0, 0}, {3, 1}} {
			next := *s.store.desired
			next.Count, next.Spares = counts[0], counts[1]
			_ = s.store.SaveDesired(t.Context(), next)
			reload <- struct{}{}
			s.after(20 * time.Second)
			s.whole(counts[0], counts[1])
		}
	})
}

func TestGitHubFails(t *testing.T) {
	supervise(t, fleet.Desired{Count: 3, Spares: 1}, nil, func(s *supervised) {
		s.after(5 * time.Second)
		s.do(func() {
			s.registerErr, s.unregisterErr = errors.New("500"), errors.New("500")
			for range 1000 {
				s.listErrs = append(s.listErrs, errors.New("500"))
			}
			s.through("ci-2222")
		})
		s.after(10 * time.Minute)
		if got := len(s.onlineNames()); got != 2 {
			t.Errorf("%d online of the 2 that had no fault", got)
		}
		if got := s.count("register"); got > 25 {
			t.Errorf("%d tries to register", got)
		}
		if got := s.eventsOf(fleet.FailedEvent, "so running runners are kept"); len(got) != 1 {
			t.Errorf("%v", got)
		}
		s.do(func() { s.registerErr, s.unregisterErr, s.listErrs = nil, nil, nil })
		s.after(6 * time.Minute)
		s.whole(3, 1)
	})
}

func TestEngineGoneAndBack(t *testing.T) {
	supervise(t, fleet.Desired{Count: 3, Spares: 1}, nil, func(s *supervised) {
		s.after(5 * time.Second)
		s.do(func() {
			s.knownErr = errors.New("connection refused")
			for _, listener := range s.listeners {
				close(listener)
			}
			s.listeners = nil
		})
		s.after(10 * time.Minute)
		if got := s.eventsOf(fleet.FailedEvent, "the engine does not answer"); len(got) != 1 {
			t.Errorf("%v", got)
		}
		s.do(func() {
			s.knownErr = nil
			for name := range s.runners {
				s.end(name, 137) // as after a reboot
			}
		})
		s.after(enginePause + 5*time.Second)
		s.whole(3, 1)
	})
}

// A killed process leaves operations unfinished, and the next supervisor completes them.
func TestTakesOver(t *testing.T) {
	supervise(t, fleet.Desired{Count: 3, Spares: 1}, func(s *supervised) {
		s.standing("ci-aaaa", supervisedSpec.Agent)
		s.start("ci-aaaa", supervisedSpec)
		s.start("ci-bbbb", supervisedSpec) // registered, but no credential written
		s.registrations["ci-bbbb"] = fleet.Registration{URL: acme, ID: 800, Name: "ci-bbbb"}
		spare := s.start("ci-cccc", supervisedSpec)
		spare.Start, spare.Waiting = fleet.Spare, true
		s.runners["ci-cccc"] = spare // registered, but its credential is lost
		s.registrations["ci-cccc"] = fleet.Registration{URL: acme, ID: 801, Name: "ci-cccc"}
		made := s.start("ci-dddd", supervisedSpec)
		made.State = "created"
		s.runners["ci-dddd"] = made
		s.after(time.Second) // they are older than the first list
	}, func(s *supervised) {
		s.after(3 * time.Minute)
		s.whole(3, 1)
		runners, _ := s.all()
		for _, gone := range []string{"ci-bbbb", "ci-dddd"} {
			if slices.Contains(runners, gone) {
				t.Errorf("%s is there still", gone)
			}
		}
		if !slices.Contains(runners, "ci-cccc") || s.count("unregister ci-cccc") != 1 {
			t.Error("the spare was not used on")
		}
		if !slices.Contains(runners, "ci-aaaa") || len(s.eventsOf(fleet.OnlineEvent, "ci-aaaa")) > 0 {
			t.Error("a good runner was replaced, or looked into")
		}
	})
}

func TestNamesTaken(t *testing.T) {
	supervise(t, fleet.Desired{Count: 1}, func(s *supervised) {
		s.listErrs = []error{errors.New("500")} // otherwise it would know that the name is taken
		s.registrations["ci-2222"] = fleet.Registration{URL: "elsewhere", ID: 900, Name: "ci-2222", Online: true}
	}, func(s *supervised) {
		s.after(5 * time.Second)
		if got := len(s.eventsOf(fleet.FailedEvent, "another one instead")); got != 1 || s.count("create ci-2223") != 1 {
			t.Errorf("%v %v", s.events, s.store.events)
		}
	})
}

func TestContainerTakenAway(t *testing.T) {
	supervise(t, fleet.Desired{Count: 2}, nil, func(s *supervised) {
		s.after(5 * time.Second)
		s.do(func() {
			delete(s.runners, "ci-2222")
			one := s.registrations["ci-2222"]
			one.Online = false
			s.registrations["ci-2222"] = one
			s.tell(fleet.Change{Runner: "ci-2222", Kind: fleet.Destroyed})
		})
		s.after(90 * time.Second)
		s.whole(2, 0)
	})
}

// A supervisor that is stopped leaves nothing half done.
func TestStopsInTheMiddle(t *testing.T) {
	for _, pause := range []time.Duration{0, 3 * time.Millisecond, 12 * time.Millisecond, 100 * time.Millisecond, 320 * time.Millisecond} {
		supervise(t, fleet.Desired{Count: 3, Spares: 1}, func(s *supervised) { s.listErrs = []error{errors.New("slow")} }, func(s *supervised) {
			s.after(pause)
			s.stop()
			runners, registrations := s.all()
			for _, name := range registrations {
				if s.runners[name].State != fleet.Running {
					t.Errorf("after %s: %s is registered and has no runner", pause, name)
				}
			}
			for _, name := range runners {
				if !s.runners[name].Waiting && s.registrations[name].ID == 0 {
					t.Errorf("after %s: %s runs and is not registered", pause, name)
				}
			}
			s.begin()
			s.after(2 * time.Minute)
			s.whole(3, 1)
		})
	}
}

func TestFleetWithoutAgents(t *testing.T) {
	supervise(t, fleet.Desired{Count: 3, Spares: 1, Spec: fleet.Spec{Fleet: "ci", Image: "runner:1", ImageID: "sha256:1"}}, func(s *supervised) {
		s.with = func(supervision *Controller) { supervision.Targets = nil }
	}, func(s *supervised) {
		s.after(5 * time.Second)
		s.do(func() { s.end("ci-2222", 1) })
		s.after(10 * time.Second)
		runners, _ := s.all()
		if len(runners) != 3 || runners[0] == "ci-2222" {
			t.Errorf("%v", runners)
		}
	})
}

// ageing is a GitHub client that reports deprecations.
type ageing struct {
	*outside
	day time.Time
}

func (a *ageing) Deprecated(context.Context, string) (time.Time, error) { return a.day, nil }

func TestAgentAges(t *testing.T) {
	for _, can := range []bool{true, false} {
		supervise(t, fleet.Desired{Count: 2, Spares: 1, Agent: "2.330.0"}, func(s *supervised) {
			s.with = func(supervision *Controller) {
				supervision.Targets[acme] = &ageing{s.outside, time.Now().Add(10 * 24 * time.Hour)}
				if can {
					supervision.Rebuild = func(ctx context.Context, desired fleet.Desired) (fleet.Desired, error) {
						sleep(ctx, 5*time.Minute)
						desired.Spec.ImageID, desired.Agent = "sha256:2", "2.331.0"
						return desired, ctx.Err()
					}
				}
			}
		}, func(s *supervised) {
			s.after(48 * time.Hour)
			if got := s.eventsOf(fleet.ImageEvent, ""); len(got) > 0 {
				t.Errorf("8 days before: %v", got)
			}
			s.after(48 * time.Hour)
			if !can {
				if len(s.eventsOf(fleet.ImageEvent, "and the image can't be rebuilt here: nobody can; runnerctl up does it")) == 0 {
					t.Errorf("%v", s.store.events)
				}
				return
			}
			if got := s.eventsOf(fleet.ImageEvent, "rebuilt"); len(got) != 1 {
				t.Errorf("6 days before: %v", got)
			}
			for name, runner := range s.runners {
				if runner.ImageID != "sha256:2" {
					t.Errorf("%s has image %s", name, runner.ImageID)
				}
			}
			if s.store.desired.Agent != "2.331.0" {
				t.Errorf("kept: %v", s.store.desired)
			}
		})
	}
}

// A change of the Desired while the image is being rebuilt is not overwritten.
func TestOtherDesiredStateWhileRenewing(t *testing.T) {
	supervise(t, fleet.Desired{Count: 2, Agent: "2.330.0"}, func(s *supervised) {
		s.with = func(supervision *Controller) {
			supervision.Targets[acme] = &ageing{s.outside, time.Now().Add(24 * time.Hour)}
			supervision.Rebuild = func(ctx context.Context, desired fleet.Desired) (fleet.Desired, error) {
				if desired.Count == 2 {
					other := desired
					other.Count = 3
					_ = s.store.SaveDesired(ctx, other)
				}
				desired.Spec.ImageID = "sha256:2"
				return desired, nil
			}
		}
	}, func(s *supervised) {
		s.after(time.Hour)
		s.whole(3, 0)
		if len(s.eventsOf(fleet.ImageEvent, "the desired state changed meanwhile")) != 1 {
			t.Errorf("%v", s.store.events)
		}
	})
}

func TestRefusedAgentIsRenewed(t *testing.T) {
	supervise(t, fleet.Desired{Count: 2, Spares: 1}, func(s *supervised) {
		s.connect = func(w *outside, name string) {
			if w.runners[name].ImageID == "sha256:2" {
				w.online(name)
				return
			}
			w.end(name, fleet.VersionRefused)
		}
		s.with = func(supervision *Controller) {
			supervision.Rebuild = func(_ context.Context, desired fleet.Desired) (fleet.Desired, error) {
				desired.Spec.ImageID = "sha256:2"
				return desired, nil
			}
		}
	}, func(s *supervised) {
		s.after(6 * time.Minute)
		s.whole(2, 1)
	})
}

func TestWithoutADesiredState(t *testing.T) {
	var none *NoDesiredStateError
	if err := (Controller{Fleet: "ci", Store: &memory{}}).Supervise(t.Context()); !errors.As(err, &none) {
		t.Error(err)
	}
}

func TestNoSecretIsReported(t *testing.T) {
	supervise(t, fleet.Desired{Count: 1, Spares: 1}, func(s *supervised) {
		s.createErr = fmt.Errorf("bad %v", secret.New("hunter2"))
	}, func(s *supervised) {
		s.after(10 * time.Second)
		if strings.Contains(fmt.Sprint(s.store.events, s.store.records), "hunter2") || len(s.eventsOf(fleet.FailedEvent, "[redacted]")) == 0 {
			t.Errorf("%v", s.store.events)
		}
	})
}

// thousand adds a thousand healthy runners, and returns the Desired for them.
func thousand(w *outside) fleet.Desired {
	desired := fleet.Desired{Count: 1000, Spec: supervisedSpec, Ready: time.Minute}
	names := &supervised{}
	for range desired.Count {
		name := names.newName()
		w.start(name, desired.Spec)
		w.online(name)
	}
	return desired
}

func TestThousandRunnersCostFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOutside()
		desired := thousand(w)
		s := &supervised{outside: w, t: t, store: &memory{desired: &desired, records: map[string]fleet.Record{}}}
		s.after(time.Second) // the runners are older than the first list
		s.begin()
		s.after(time.Minute)
		before := w.paid()
		s.after(time.Hour)
		if calls := w.paid() - before; calls < 500 || calls > 1000 {
			t.Errorf("%d calls of GitHub in an hour", calls)
		}
		s.whole(1000, 0)
		if made := w.count(""); made > 0 {
			t.Errorf("%d things were done", made)
		}
		if got := s.eventsOf(fleet.OnlineEvent, ""); len(got) > 0 {
			t.Errorf("%d were looked into, though GitHub says that they are online", len(got))
		}
		s.stop()
	})
}

func TestThousandRunnersCostLittleTime(t *testing.T) {
	w := newOutside()
	desired := thousand(w)
	l := newLoop(t.Context(), Controller{Fleet: "ci", Engine: w, Targets: fleet.Targets{acme: w}, Store: &memory{}}, desired)
	for _, runner := range w.runners {
		l.observed[runner.Name] = &fleet.Observed{Runner: runner}
	}
	list, _ := w.Registrations(t.Context())
	seen := look{asked: time.Now(), list: map[string]fleet.Registration{}}
	for _, one := range list {
		seen.list[one.Name] = one
	}
	l.ticked = time.Now()
	best := time.Hour
	for range 10 { // other work on this machine may slow single passes down
		started := time.Now()
		l.handleList(targetList{acme, seen})
		if _, err := l.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(started))
	}
	if best > 100*time.Millisecond {
		t.Errorf("one look at 1000 runners takes %s", best)
	}
	if len(w.events) > 0 || l.all()[0].Online.IsZero() {
		t.Errorf("%v", w.events)
	}
}

// After any events in any order, the fleet is complete, with nothing left over.
func TestHeals(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			supervise(t, fleet.Desired{Count: 4, Spares: 1}, nil, func(s *supervised) {
				any := func() string {
					var names []string
					for name := range s.runners {
						names = append(names, name)
					}
					slices.Sort(names)
					return names[random.IntN(len(names))]
				}
				broken := errors.New("broken")
				faults := []func(){
					func() { s.through(any()) },
					func() { s.end(any(), 137) },
					func() { delete(s.registrations, any()) },
					func() { s.disconnect(any()) },
					func() {
						name := any()
						delete(s.runners, name)
						s.disconnect(name)
						s.tell(fleet.Change{Runner: name, Kind: fleet.Destroyed})
					},
					func() { s.registerErr = broken },
					func() { s.unregisterErr = broken },
					func() { s.createErr = broken },
					func() { s.listErrs = append(s.listErrs, broken, broken, broken) },
					func() { s.connect = func(w *outside, name string) { w.end(name, 1) } },
					func() { s.connect = func(*outside, string) {} },
					func() {
						s.knownErr = broken
						for _, listener := range s.listeners {
							close(listener)
						}
						s.listeners = nil
					},
					func() { s.store.err = broken },
				}
				heal := func() {
					s.registerErr, s.unregisterErr, s.createErr, s.listErrs, s.connect, s.knownErr, s.store.err = nil, nil, nil, nil, (*outside).online, nil, nil
				}
				for range 60 {
					s.after(time.Duration(random.IntN(20000)) * time.Millisecond)
					switch random.IntN(8) {
					case 0:
						s.stop()
						s.do(heal) // a supervisor does not start without its Desired
						s.begin()
					case 1, 2:
						s.do(heal)
					default:
						s.do(func() {
							if len(s.runners) > 0 {
								faults[random.IntN(len(faults))]()
							}
						})
					}
				}
				s.do(heal)
				s.after(20 * time.Minute)
				s.whole(4, 1)
			})
		})
	}
}

// counted is a Meter.
type counted struct {
	mu                    sync.Mutex
	looks, failed, wanted int
	spares, fresh         int
	ended                 []fleet.Record
	last                  map[fleet.Standing]int
}

func (c *counted) Reconciled(_ time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	if err != nil {
		c.failed++
	}
}

func (c *counted) Runners(count map[fleet.Standing]int, wanted int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.wanted = count, wanted
}

func (c *counted) Started(_ time.Duration, fromSpare bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fromSpare {
		c.spares++
	} else {
		c.fresh++
	}
}

func (c *counted) Ended(record fleet.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, record)
}

// queueing is a GitHub client that reports how long jobs waited.
type queueing struct{ *outside }

func (q *queueing) Queued(_ context.Context, jobURL, runner string) (time.Duration, error) {
	if jobURL != acme+"/api/actions/runs/1" {
		return 0, fmt.Errorf("job %s of %s", jobURL, runner)
	}
	return 7 * time.Second, nil
}

func TestMeter(t *testing.T) {
	var meter counted
	supervise(t, fleet.Desired{Count: 3, Spares: 1}, func(s *supervised) {
		s.with = func(supervision *Controller) {
			supervision.Meter = &meter
			supervision.Targets[acme] = &queueing{s.outside}
		}
	}, func(s *supervised) {
		s.after(5 * time.Second)
		if meter.fresh != 3 || meter.last[fleet.StandingIdle] != 3 || meter.last[fleet.StandingSpare] != 1 || meter.wanted != 3 {
			t.Errorf("%+v", &meter)
		}
		s.setBusy("ci-2223", true)
		s.do(func() { s.worked["ci-2222"] = true; s.through("ci-2222") })
		s.after(2 * time.Minute)
		if meter.spares != 1 || meter.last[fleet.StandingBusy] != 1 || meter.last[fleet.StandingIdle] != 2 || len(meter.ended) != 1 || meter.ended[0].Queued != 7 {
			t.Errorf("%+v", &meter)
		}
		s.do(func() { s.knownErr = errors.New("gone") })
		s.after(5 * time.Minute)
		if meter.failed == 0 || meter.failed > 60 {
			t.Errorf("%d looks of %d failed", meter.failed, meter.looks)
		}
	})
}

func TestARunnerInTheMakingOutlivesItsSupervisor(t *testing.T) {
	for name, spares := range map[string]int{"made": 0, "a spare given": 1} {
		t.Run(name, func(t *testing.T) {
			silent := func(*outside, string) {}
			supervise(t, fleet.Desired{Count: 1, Spares: spares}, func(s *supervised) {
				s.connect = silent
				if spares > 0 { // the spare gets its credential when the existing runner ends
					s.connect = func(w *outside, name string) {
						w.online(name)
						w.connect = silent
					}
				}
			}, func(s *supervised) {
				s.after(10 * time.Second)
				if spares > 0 {
					first := s.onlineNames()[0]
					s.do(func() { s.through(first) })
					s.after(10 * time.Second)
				}
				s.stop()
				s.do(func() {
					for name := range s.runners { // the runner it waited for comes online afterwards
						if !s.runners[name].Waiting {
							s.online(name)
						}
					}
					s.connect = (*outside).online
				})
				if got := len(s.onlineNames()); got != 1 {
					runners, registrations := s.all()
					s.t.Errorf("%d online of %v, registered %v", got, runners, registrations)
				}
				s.begin()
				s.after(10 * time.Second)
				s.whole(1, spares)
				if removed := s.count("unregister"); removed != 0 {
					s.t.Errorf("%d runners were taken away", removed)
				}
			})
		})
	}
}
