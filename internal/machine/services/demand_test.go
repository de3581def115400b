//go:build linux

package services

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// demand is a socket whose clients a test makes.
type demand struct {
	*journal
	clients chan struct{}
	used    atomic.Bool
}

func (d *demand) Await()               { <-d.clients }
func (d *demand) Refuse(reason string) { d.add("refuse: " + reason) }
func (d *demand) Hold()                { d.add("hold") }
func (d *demand) Used() bool           { return d.used.Load() }

// onDemand changes a stage to daemons on demand. At the end, no goroutine waits for a client.
func onDemand(t *testing.T, s *stage) *demand {
	d := &demand{journal: s.journal, clients: make(chan struct{})}
	s.machine.Demand = d
	t.Cleanup(func() { close(d.clients) })
	return d
}

func expect(t *testing.T, s *stage, lines ...string) {
	t.Helper()
	if got, want := s.String(), strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDaemonsStartAtTheFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		d := onDemand(t, s)
		began := time.Now()
		s.machine.Routed = func() bool { return time.Since(began) >= time.Second } // after the agent's start
		s.run(func(m *Machine) {
			pause(time.Minute)
			if got := m.Snapshot(); !got.Ready || !got.Asleep || got.Version != "" {
				t.Errorf("got %+v, want a ready machine with daemons that sleep", got)
			}
			d.clients <- struct{}{}
			synctest.Wait()
			pause(100 * time.Millisecond)
			s.ready("dockerd")
			pause(time.Millisecond)
			if got := m.Snapshot(); got.Asleep || got.Version != "28.0.1" {
				t.Errorf("got %+v, want daemons that are awake", got)
			}
			s.stops <- Stop{}
		})
		expect(t, s, "0 start agent", "1 Docker starts at its first use", "1 announced",
			"60 start containerd", "60 hold", "60 start dockerd", "60.1 Docker 28.0.1 answers",
			"60.101 agent TERM", "60.101 agent CONT", "60.101 dockerd TERM", "60.101 dockerd CONT", "60.101 containerd TERM", "60.101 containerd CONT")
	})
}

func TestSocketOfSleepingDaemonsIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		onDemand(t, s)
		s.run(func(*Machine) {
			pause(time.Minute)
			s.lost = true
			pause(sleepPause)
			if !s.has("the place was removed and is restored") || s.lost {
				t.Errorf("not restored\n%s", s)
			}
			s.stops <- Stop{}
		})
	})
}

func TestMachineIsReadyWithItsNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		onDemand(t, s)
		began := time.Now()
		s.machine.Routed = func() bool { return time.Since(began) >= time.Second }
		s.run(func(*Machine) {
			pause(2 * time.Second)
			s.stops <- Stop{}
		})
		expect(t, s, "1 Docker starts at its first use", "1 announced")
	})
}

func TestJobWakesTheDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		onDemand(t, s)
		var working atomic.Bool
		s.machine.Working = working.Load
		s.run(func(*Machine) {
			pause(10 * time.Second)
			if s.has("start dockerd") {
				t.Errorf("started without a job\n%s", s)
			}
			working.Store(true)
			pause(time.Second)
			if !s.has("start dockerd") {
				t.Errorf("not started for a job\n%s", s)
			}
			s.stops <- Stop{}
		})
	})
}

func TestUnusedDaemonsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		d := onDemand(t, s)
		s.machine.IdleStop = 10 * time.Minute
		s.run(func(m *Machine) {
			d.clients <- struct{}{}
			synctest.Wait()
			s.ready("dockerd")
			d.used.Store(true)
			pause(time.Hour)
			if s.has("dockerd TERM") {
				t.Errorf("stopped while in use\n%s", s)
			}
			d.used.Store(false)
			pause(9 * time.Minute)
			if s.has("dockerd TERM") {
				t.Errorf("stopped too early\n%s", s)
			}
			pause(3 * time.Minute)
			if got := m.Snapshot(); !got.Asleep || len(got.Restarts) != 0 || !s.has("dockerd TERM") || !s.has("containerd TERM") || s.has("ended by itself") {
				t.Errorf("got %+v, want daemons that sleep\n%s", got, s)
			}
			d.clients <- struct{}{}
			synctest.Wait()
			if count := strings.Count(s.String(), "start dockerd"); count != 2 {
				t.Errorf("dockerd was started %d times, want 2\n%s", count, s)
			}
			s.stops <- Stop{}
		})
	})
}

// A use while the daemons stop starts them again.
func TestUseWhileDaemonsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		d := onDemand(t, s)
		s.machine.IdleStop = time.Minute
		s.deaf["dockerd"] = map[syscall.Signal]bool{syscall.SIGTERM: true}
		s.run(func(m *Machine) {
			d.clients <- struct{}{}
			synctest.Wait()
			s.ready("dockerd")
			pause(70 * time.Second)
			if !s.has("dockerd TERM") {
				t.Fatalf("not stopping\n%s", s)
			}
			m.Wake()
			pause(stopLimit + time.Second)
			if !s.has("dockerd KILL") {
				t.Errorf("not killed\n%s", s)
			}
			if got := m.Snapshot(); got.Asleep || strings.Count(s.String(), "start dockerd") != 2 {
				t.Errorf("got %+v, want daemons that started again\n%s", got, s)
			}
			s.stops <- Stop{}
		})
	})
}

// A job whose daemon does not start goes on, and its clients learn why. Then the machine ends.
func TestDaemonThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		d := onDemand(t, s)
		var working atomic.Bool
		working.Store(true)
		s.machine.Working = working.Load
		s.machine.Dockerd.LastWords = func() string { return "no space left" }
		code := s.run(func(m *Machine) {
			d.clients <- struct{}{}
			synctest.Wait()
			for range mostDeaths {
				s.process("dockerd").end(1)
				pause(time.Second)
			}
			if got := m.Snapshot(); got.Failure != "dockerd does not start: no space left" || !s.has("refuse: the Docker daemon of this runner failed: dockerd does not start: no space left") {
				t.Errorf("got %+v, want a failure with the last words\n%s", got, s)
			}
			pause(time.Hour)
			if s.has("agent TERM") {
				t.Errorf("the job was ended\n%s", s)
			}
			working.Store(false)
			pause(time.Second)
		})
		if code != GaveUp || !s.has("containerd TERM") {
			t.Errorf("code %d, want %d\n%s", code, GaveUp, s)
		}
	})
}

// While dockerd refuses a job's settings, clients get an error. They wait during each try.
func TestClientsOfRefusedSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(false)
		d := onDemand(t, s)
		s.machine.Dockerd.LastWords = func() string { return "bad key" }
		s.run(func(m *Machine) {
			s.settings = "broken"
			d.clients <- struct{}{}
			synctest.Wait()
			s.process("dockerd").end(1)
			pause(time.Millisecond)
			if got := m.Snapshot().Failure; got != "dockerd does not start: bad key" {
				t.Errorf("failure %q", got)
			}
			pause(retryPause)
			s.ready("dockerd")
			if got := m.Snapshot().Failure; got != "" {
				t.Errorf("failure %q, want none", got)
			}
			s.stops <- Stop{}
		})
		want := []string{"start containerd", "hold", "start dockerd", "refuse: the Docker", "hold", "start dockerd"}
		rest := s.String()
		for _, line := range want {
			_, after, found := strings.Cut(rest, line)
			if !found {
				t.Fatalf("no %q in order in\n%s", line, s)
			}
			rest = after
		}
	})
}

// The daemons outlive the job: a job that ends while the machine stops may still use them.
func TestUseWhileTheMachineStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		d := onDemand(t, s)
		s.run(func(*Machine) {
			s.process("agent").deaf = map[syscall.Signal]bool{syscall.SIGTERM: true} // a job runs
			s.stops <- Stop{}
			pause(time.Second)
			d.clients <- struct{}{}
			pause(time.Second)
			s.ready("dockerd")
			s.process("containerd").end(1)
			pause(time.Second)
			s.process("agent").end(0)
		})
		for line, want := range map[string]int{"start dockerd": 1, "start containerd": 1, "dockerd TERM": 1} {
			if got := strings.Count(s.String(), line); got != want {
				t.Errorf("%d times %q, want %d\n%s", got, line, want, s)
			}
		}
	})
}
