//go:build linux

package services

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a process that ends when a test or a signal says so.
type fake struct {
	name string
	log  *journal
	done chan struct{}
	once sync.Once
	code int
	deaf map[syscall.Signal]bool
}

func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Code() int             { return f.code }
func (f *fake) end(code int) {
	f.once.Do(func() {
		f.code = code
		close(f.done)
	})
}

func (f *fake) Signal(signal syscall.Signal) error {
	f.log.add(fmt.Sprintf("%s %s", f.name, map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGCONT: "CONT", syscall.SIGKILL: "KILL"}[signal]))
	if signal == syscall.SIGCONT || f.deaf[signal] {
		return nil
	}
	f.end(map[syscall.Signal]int{syscall.SIGTERM: 0, syscall.SIGKILL: 137}[signal])
	return nil
}

// journal is everything that happened, with the seconds since the beginning.
type journal struct {
	mutex sync.Mutex
	began time.Time
	lines []string
}

func (j *journal) add(line string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%g %s", time.Since(j.began).Seconds(), line))
}

func (j *journal) has(line string) bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return slices.ContainsFunc(j.lines, func(one string) bool { return strings.HasSuffix(one, line) })
}

func (j *journal) String() string {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return strings.Join(j.lines, "\n")
}

// stage is a machine with fake processes. Its fields may be changed before run.
type stage struct {
	*journal
	machine  Machine
	stops    chan Stop
	mutex    sync.Mutex
	running  map[string]*fake
	readies  map[string]chan struct{}
	settings string
	deaf     map[string]map[syscall.Signal]bool
	lost     bool
	keeps    error
	spent    bool
	pings    int // answers only after so many
}

func (s *stage) Current() string { return s.settings }
func (s *stage) Name() string    { return "the place" }
func (s *stage) Keep() error     { return s.keeps }
func (s *stage) Lost() bool      { return s.lost }
func (s *stage) Restore() error  { s.lost = false; return nil }

func newStage(agent bool) *stage {
	s := &stage{stops: make(chan Stop, 1), journal: &journal{began: time.Now()}, running: map[string]*fake{}, readies: map[string]chan struct{}{}, deaf: map[string]map[syscall.Signal]bool{}}
	service := func(name string) *Service {
		s.readies[name] = make(chan struct{})
		return &Service{Name: name, Ready: s.readies[name], Start: func() (Process, error) {
			s.add("start " + name)
			process := &fake{name: name, log: s.journal, done: make(chan struct{}), deaf: s.deaf[name]}
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.running[name] = process
			return process, nil
		}}
	}
	s.machine = Machine{
		Containerd: service("containerd"), Dockerd: service("dockerd"), Settings: s, Socket: s,
		Say: s.add, Spent: func() bool { return s.spent }, Announce: func(Snapshot) { s.add("announced") },
		Ping:   func() (string, bool) { s.pings--; return "28.0.1", s.pings < 0 },
		Routed: func() bool { return true }, Stops: s.stops,
	}
	if agent {
		s.machine.Agent = service("agent")
	}
	return s
}

func (s *stage) process(name string) *fake {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.running[name]
}

// run runs the machine in a bubble while a script of events goes on next to it, and returns its
// code.
func (s *stage) run(script func(m *Machine)) (code int) {
	s.began = time.Now()
	m := New(s.machine)
	ended := make(chan int, 1)
	go func() { ended <- m.Run() }()
	synctest.Wait()
	script(m)
	code = <-ended
	synctest.Wait()
	return code
}

func (s *stage) ready(name string) {
	s.readies[name] <- struct{}{}
	synctest.Wait()
}

func pause(length time.Duration) {
	time.Sleep(length)
	synctest.Wait()
}

func TestMachineStartsAnnouncesAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		s.pings = 2
		code := s.run(func(m *Machine) {
			pause(100 * time.Millisecond)
			s.ready("containerd")
			pause(100 * time.Millisecond)
			s.ready("dockerd")
			pause(time.Second)
			if got := m.Snapshot(); !got.Ready || got.Version != "28.0.1" || got.Containerd.Sub(s.began) != 100*time.Millisecond || got.Dockerd.Sub(s.began) != 240*time.Millisecond || len(got.Restarts) != 0 {
				t.Errorf("got %+v, want a ready machine, containerd after 100 ms, dockerd after 240 ms", got)
			}
			s.process("agent").deaf = map[syscall.Signal]bool{syscall.SIGTERM: true} // a job runs
			s.stops <- Stop{}
			pause(30 * time.Second)
			s.process("agent").end(0)
		})
		want := `0 start containerd
0 start dockerd
0 start agent
0.24 Docker 28.0.1 answers
0.24 announced
1.2 agent TERM
1.2 agent CONT
31.2 dockerd TERM
31.2 dockerd CONT
31.2 containerd TERM
31.2 containerd CONT`
		if code != 0 || s.String() != want {
			t.Errorf("code %d, want 0; got\n%s\nwant\n%s", code, s, want)
		}
	})
}

func TestTheAgentsEndIsTheMachines(t *testing.T) {
	for _, spent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(true)
			s.spent = spent
			code := s.run(func(*Machine) { s.process("agent").end(7) })
			if stopped := s.has("dockerd TERM"); code != 7 || stopped == spent {
				t.Errorf("spent %t: code %d, want 7; daemons stopped: %t, want %t\n%s", spent, code, stopped, !spent, s)
			}
		})
	}
}

func TestDaemonsAreStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		code := s.run(func(m *Machine) {
			s.ready("dockerd")
			s.process("dockerd").end(0) // a restart by hand
			pause(time.Millisecond)
			s.ready("dockerd")
			pause(time.Minute)
			s.process("dockerd").end(137) // after a long life: the first failure
			pause(time.Second)
			s.process("dockerd").end(137)
			pause(time.Second)
			if got := m.Snapshot().Restarts; len(got) != 3 || got[0].Service != "dockerd" {
				t.Errorf("restarts %+v, want three of dockerd", got)
			}
			s.stops <- Stop{}
		})
		for _, want := range []string{
			"0 dockerd ended by itself with code 0", "0 start dockerd",
			"60.001 dockerd ended by itself with code 137", "60.101 start dockerd",
			"61.001 dockerd ended by itself with code 137", "61.201 start dockerd",
		} {
			if !strings.Contains("\n"+s.String()+"\n", "\n"+want+"\n") {
				t.Errorf("no %q in\n%s", want, s)
			}
		}
		if code != 0 {
			t.Errorf("code %d, want 0", code)
		}
	})
}

func TestMachineGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		code := s.run(func(*Machine) {
			for range mostDeaths {
				s.process("containerd").end(1)
				pause(time.Second)
			}
		})
		if code != GaveUp || !s.has("containerd died 5 times in a row: giving up") || !s.has("agent TERM") {
			t.Errorf("code %d, want %d\n%s", code, GaveUp, s)
		}
	})
}

func TestMachineWithoutANetworkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		code := s.run(func(*Machine) { s.stops <- Stop{NetworkEnded: true} })
		if code != GaveUp || !s.has("agent KILL") || s.has("agent TERM") || !s.has("dockerd TERM") {
			t.Errorf("code %d, want %d; the agent killed, the daemons stopped\n%s", code, GaveUp, s)
		}
	})
}

func TestDaemonThatDoesNotStopIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		s.deaf["dockerd"] = map[syscall.Signal]bool{syscall.SIGTERM: true}
		code := s.run(func(*Machine) { s.stops <- Stop{} })
		if code != 0 || !s.has("20 dockerd did not end within 20 seconds: killed") || !s.has("20 dockerd KILL") || !s.has("20 containerd TERM") {
			t.Errorf("code %d, want 0\n%s", code, s)
		}
	})
}

// A job's daemon.json that dockerd refuses is retried for ever: the job may fix it. The
// machine's own settings count as failures.
func TestSettingsThatDockerdRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		s.run(func(*Machine) {
			s.ready("dockerd")
			pause(time.Minute)
			s.settings = "broken"
			s.process("dockerd").end(0)
			pause(time.Millisecond)
			for range 10 {
				s.process("dockerd").end(1)
				pause(retryPause)
			}
			if count := strings.Count(s.String(), "does not start with the current the place"); count != 1 {
				t.Errorf("said %d times, want once\n%s", count, s)
			}
			s.settings = ""
			s.process("dockerd").end(1)
			pause(time.Second)
			if s.has("giving up") {
				t.Errorf("gave up\n%s", s)
			}
			s.stops <- Stop{}
		})
	})
}

func TestSettingsBecomeGoodWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		code := s.run(func(*Machine) {
			s.settings = "other"
			s.ready("dockerd")
			pause(time.Minute)
			s.process("dockerd").end(1)
			for range mostDeaths { // with settings that were good, these are failures
				pause(time.Second)
				s.process("dockerd").end(1)
			}
		})
		if code != GaveUp {
			t.Errorf("code %d, want %d\n%s", code, GaveUp, s)
		}
	})
}

func TestSocketIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		s.run(func(*Machine) {
			s.lost = true
			pause(10 * time.Second) // dockerd is not ready: it has none yet
			if s.has("is restored") {
				t.Errorf("restored too early\n%s", s)
			}
			s.ready("dockerd")
			pause(2 * time.Second)
			if !s.has("the place was removed and is restored") || s.lost {
				t.Errorf("not restored\n%s", s)
			}
			s.keeps = errors.New("no socket")
			s.process("dockerd").end(0)
			pause(time.Second)
			s.ready("dockerd")
			if !s.has("the place: hosts: dockerd does not listen on the place, which jobs and runnerctl use") {
				t.Errorf("nothing said\n%s", s)
			}
			s.stops <- Stop{}
		})
	})
}

func TestServiceThatCanNotBeStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		s.machine.Containerd.Start = func() (Process, error) { return nil, errors.New("no such program") }
		code := s.run(func(*Machine) {})
		if code != GaveUp || !s.has("containerd: no such program") || !s.has("containerd ended by itself with code 127") {
			t.Errorf("code %d, want %d\n%s", code, GaveUp, s)
		}
	})
}

func TestDeaths(t *testing.T) {
	for _, test := range []struct {
		name         string
		before, code int
		ready        bool
		lived        time.Duration
		want         int
	}{
		{"a requested end", 3, 0, true, time.Second, 3},
		{"an end before it was ready", 0, 0, false, time.Second, 1},
		{"another one soon", 1, 1, true, 9 * time.Second, 2},
		{"after a long life", 4, 1, true, 10 * time.Second, 1},
	} {
		if got := deaths(test.before, test.code, test.ready, test.lived); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
