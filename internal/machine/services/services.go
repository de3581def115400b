//go:build linux

// Package services keeps the machine's daemons and its agent running: it starts them in
// parallel, starts them again with a back-off and a limit, stops them in order, and announces
// when jobs may begin. It imports no package of runnerctl.
package services

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

const (
	// mostDeaths is the number of failures in a row after which the machine gives up.
	mostDeaths = 5
	// soon is the life of a process below which its end counts as another failure.
	soon = 10 * time.Second
	// retryPause is the wait before another try with settings that dockerd refuses.
	retryPause = 2 * time.Second
	// stopLimit is the time for a daemon to end; dockerd itself gives its containers 15 s.
	stopLimit = 20 * time.Second
	// pingPause is the wait between two questions to a dockerd that does not answer yet.
	pingPause = 20 * time.Millisecond
	// watchPause is the wait between two looks at dockerd's socket.
	watchPause = 500 * time.Millisecond
	// sleepPause is watchPause while the daemons are asleep and there is no agent: an idle runner
	// then uses hardly any processor time.
	sleepPause = 5 * time.Second
)

// GaveUp is the machine's exit code after it gave up: EX_SOFTWARE, which fleet.Verdict knows.
const GaveUp = 70

// Process is a started service.
type Process interface {
	Done() <-chan struct{}
	Code() int // after Done
	Signal(syscall.Signal) error
}

// Service is a program that is kept running.
type Service struct {
	Name  string
	Start func() (Process, error)
	// Ready gets a value each time the service reports that it is ready; nil: never.
	Ready <-chan struct{}
	// Flush writes the rest of its output, also an incomplete line; nil: none.
	Flush func()
	// LastWords returns the last line of its output; nil: unknown.
	LastWords func() string

	process  Process
	began    time.Time
	readyAt  time.Time // of the current process; zero: not ready
	first    time.Time // when it was ready for the first time
	deaths   int       // in a row
	due      time.Time // of the next start
	asked    time.Time // when it was asked to stop
	over     bool      // it ended while the machine stops
	refusing string    // the settings that it was last said to refuse
}

// Settings are those of dockerd, which a job may change.
type Settings interface {
	// Current returns the text with which dockerd was last started.
	Current() string
	// Name is the place where a job changes them.
	Name() string
}

// Socket keeps the daemon's socket reachable.
type Socket interface {
	// Keep makes a second name for a new socket.
	Keep() error
	// Lost reports whether the socket was removed or replaced.
	Lost() bool
	// Restore brings it back.
	Restore() error
	Name() string
}

// Restart is a start of a service after it ended by itself.
type Restart struct {
	Service string
	At      time.Time
}

// Snapshot is the state of the services at one moment.
type Snapshot struct {
	Ready    bool   // jobs may begin, or could already
	Version  string // of dockerd; "": it has not started yet
	Asleep   bool   // the daemons start at their next use
	Failure  string // why the daemons don't start at a use; "": they do
	Restarts []Restart
	// Phases are the ends of the phases of the start.
	Containerd, Dockerd time.Time
}

// Stop is a request to end the machine.
type Stop struct {
	// NetworkEnded: there is nothing left to wait for.
	NetworkEnded bool
}

// Machine are the services of one machine. All fields are set before Run.
type Machine struct {
	Containerd, Dockerd *Service
	Agent               *Service // nil: none. Its end is the machine's end
	Settings            Settings
	Socket              Socket
	Say                 func(text string)                // a line of the log
	Ping                func() (version string, ok bool) // asks dockerd once
	Routed              func() bool                      // reports whether the network is up
	Announce            func(Snapshot)                   // called once: jobs may begin
	// Stops end the machine; they may come before Run.
	Stops <-chan Stop
	// Spent reports whether the machine had its only job: it ends without stopping anything.
	Spent func() bool
	// Demand starts the daemons at their first use; nil: at once.
	Demand Demand
	// Working reports whether the agent runs a job. Only Demand needs it.
	Working func() bool
	// IdleStop is the time without any use after which the daemons stop; 0: never.
	IdleStop time.Duration

	done      chan struct{} // closed at the end of Run
	snapshots chan chan Snapshot
	ends      chan *Service
	readies   chan *Service
	versions  chan string
	wakes     chan struct{}
	uses      chan bool

	stopping, network, gaveUp bool
	verdict                   *int // the agent's code
	version                   string
	restarts                  []Restart
	announced                 bool
	asking                    bool
	good                      string // settings with which dockerd started
	lost                      bool   // the socket, at the last look

	// On demand.
	phase   phase
	again   bool // a use while they rest
	failure string
	failed  time.Time // when the daemons became broken
	used    time.Time // last
	looking bool      // for a use
	looked  time.Time
}

// New completes a machine.
func New(m Machine) *Machine {
	m.done, m.snapshots = make(chan struct{}), make(chan chan Snapshot)
	m.ends, m.readies, m.versions = make(chan *Service), make(chan *Service), make(chan string)
	m.wakes, m.uses = make(chan struct{}), make(chan bool)
	if m.Working == nil {
		m.Working = func() bool { return false }
	}
	for _, service := range m.daemons() {
		if service.LastWords == nil {
			service.LastWords = func() string { return "" }
		}
	}
	return &m
}

// Snapshot returns the state, or the zero value after the end of Run.
func (m *Machine) Snapshot() Snapshot {
	answer := make(chan Snapshot, 1)
	select {
	case m.snapshots <- answer:
		return <-answer
	case <-m.done:
		return Snapshot{}
	}
}

// daemons returns dockerd and containerd, in the order in which they stop.
func (m *Machine) daemons() []*Service { return []*Service{m.Dockerd, m.Containerd} }

func (m *Machine) all() []*Service {
	all := []*Service{m.Containerd, m.Dockerd}
	if m.Agent != nil {
		all = append(all, m.Agent)
	}
	return all
}

// Run starts the services and returns the machine's exit code.
func (m *Machine) Run() (code int) {
	m.good = m.Settings.Current()
	defer close(m.done)
	if m.phase = awake; m.Demand != nil {
		m.sleep()
		m.asking = true
		go m.ask(func() (version string, ok bool) { return "", true })
	}
	for _, service := range m.all() {
		if service.Ready != nil {
			go m.forward(service)
		}
	}
	watch := time.NewTimer(m.untilWatch())
	defer watch.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case service := <-m.ends:
			m.ended(service)
		case service := <-m.readies:
			m.ready(service)
		case version := <-m.versions:
			m.announce(version)
		case stop := <-m.Stops:
			m.stopping = true
			m.network = m.network || stop.NetworkEnded
			m.gaveUp = m.gaveUp || stop.NetworkEnded
		case answer := <-m.snapshots:
			answer <- m.snapshot()
		case <-m.wakes:
			m.wake()
		case used := <-m.uses:
			m.judgeUse(used)
		case <-watch.C:
			m.watch()
			m.watchUse()
			watch.Reset(m.untilWatch())
		case <-wake.C:
		}
		if m.stopping && m.stopNext() {
			break
		}
		m.startDue()
		wake.Reset(m.untilDue())
	}
	for _, service := range m.all() {
		if service.Flush != nil {
			service.Flush()
		}
	}
	switch {
	case m.gaveUp:
		return GaveUp
	case m.verdict != nil:
		return *m.verdict
	}
	return 0
}

func (m *Machine) forward(service *Service) {
	for {
		select {
		case <-service.Ready:
		case <-m.done:
			return
		}
		select {
		case m.readies <- service:
		case <-m.done:
			return
		}
	}
}

// startDue starts each service that is not running and whose pause is over.
func (m *Machine) startDue() {
	now := time.Now()
	for _, service := range m.all() {
		if !m.wanted(service) || now.Before(service.due) {
			continue
		}
		service.began, service.readyAt, service.asked = now, time.Time{}, time.Time{}
		if m.Demand != nil && service == m.Dockerd {
			m.Demand.Hold()
		}
		process, err := service.Start()
		if err != nil {
			process = failed{}
			m.Say(fmt.Sprintf("%s: %v", service.Name, err))
		}
		service.process = process
		go func() {
			select {
			case <-process.Done():
			case <-m.done:
				return
			}
			select {
			case m.ends <- service:
			case <-m.done:
			}
		}()
	}
}

// wanted reports whether a service has to be started. A job that ends may still wake the
// daemons.
func (m *Machine) wanted(service *Service) bool {
	switch {
	case service.process != nil, service.over:
		return false
	case service == m.Agent:
		return !m.stopping
	case m.stopping && (m.Agent == nil || m.Agent.process == nil):
		return false
	}
	return m.phase == awake
}

// failed is a process that could not be started: code 127, as in a shell.
type failed struct{}

func (failed) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}
func (failed) Code() int                   { return 127 }
func (failed) Signal(syscall.Signal) error { return nil }

// untilWatch is the wait until the next look at dockerd's socket.
func (m *Machine) untilWatch() time.Duration {
	if m.phase == asleep && m.Agent == nil {
		return sleepPause
	}
	return watchPause
}

// untilDue is the time until something has to be done without an event.
func (m *Machine) untilDue() time.Duration {
	wait := time.Hour
	for _, service := range m.all() {
		switch {
		case m.wanted(service):
			wait = min(wait, time.Until(service.due))
		case m.stopping && service.process != nil && service != m.Agent && !service.asked.IsZero():
			wait = min(wait, time.Until(service.asked.Add(stopLimit)))
		}
	}
	return max(wait, 0)
}

// ended handles the end of a service.
func (m *Machine) ended(service *Service) {
	code, wasReady := service.process.Code(), !service.readyAt.IsZero()
	service.process = nil
	if service.Flush != nil {
		service.Flush()
	}
	if service == m.Agent {
		m.verdict, m.stopping = &code, true
	}
	if m.stopping {
		service.over = true
		return
	}
	if service != m.Agent && m.phase != awake {
		m.rest()
		return
	}
	now := time.Now()
	m.Say(fmt.Sprintf("%s ended by itself with code %d", service.Name, code))
	// If dockerd does not start with the settings, they are from the job, which may change them.
	if current := m.Settings.Current(); service == m.Dockerd && !wasReady && current != m.good {
		if service.refusing != current {
			m.Say(fmt.Sprintf("dockerd does not start with the current %s: it is retried every %d seconds", m.Settings.Name(), retryPause/time.Second))
			service.refusing = current
		}
		if m.Demand != nil {
			m.refuse(service)
		}
		service.due = now.Add(retryPause)
		return
	}
	service.deaths = deaths(service.deaths, code, wasReady, now.Sub(service.began))
	if service.deaths >= mostDeaths {
		m.Say(fmt.Sprintf("%s died %d times in a row: giving up", service.Name, service.deaths))
		if m.Demand != nil {
			m.refuse(service)
			m.phase, m.failed = broken, now
			m.rest()
			return
		}
		m.gaveUp, m.stopping = true, true
		return
	}
	m.restarts = append(m.restarts, Restart{service.Name, now})
	service.due = now.Add(time.Duration(service.deaths) * 100 * time.Millisecond)
}

// deaths counts failures in a row. A requested end, like a restart by hand, is none.
func deaths(before, code int, wasReady bool, lived time.Duration) int {
	switch {
	case code == 0 && wasReady:
		return before
	case lived < soon:
		return before + 1
	}
	return 1
}

// ready handles a service's report that it is ready.
func (m *Machine) ready(service *Service) {
	service.readyAt = time.Now()
	if service.first.IsZero() {
		service.first = service.readyAt
	}
	if service != m.Dockerd {
		return
	}
	if err := m.Socket.Keep(); err != nil {
		m.Say(fmt.Sprintf("%s: hosts: dockerd does not listen on %s, which jobs and runnerctl use", m.Settings.Name(), m.Socket.Name()))
	}
	m.failure = ""
	m.askVersion()
}

// askVersion asks dockerd if its version is unknown.
func (m *Machine) askVersion() {
	if m.version == "" && !m.asking && !m.Dockerd.readyAt.IsZero() {
		m.asking = true
		go m.ask(m.Ping)
	}
}

// ask asks until there is an answer and the network is up.
func (m *Machine) ask(question func() (version string, ok bool)) {
	for {
		if version, ok := question(); ok && m.Routed() {
			select {
			case m.versions <- version:
			case <-m.done:
			}
			return
		}
		select {
		case <-m.done:
			return
		case <-time.After(pingPause):
		}
	}
}

// announce handles the first answer of dockerd, or a network for daemons that are not needed yet.
func (m *Machine) announce(version string) {
	m.asking, m.version = false, version
	if version == "" {
		m.Say("Docker starts at its first use")
	} else {
		m.Dockerd.first = time.Now()
		m.Say("Docker " + version + " answers")
	}
	if !m.announced {
		m.announced = true
		m.Announce(m.snapshot())
	}
	m.askVersion()
}

func (m *Machine) snapshot() Snapshot {
	return Snapshot{
		Ready: m.announced, Version: m.version, Restarts: slices.Clone(m.restarts), Asleep: m.phase == asleep || m.phase == resting, Failure: m.failure,
		Containerd: m.Containerd.first, Dockerd: m.Dockerd.first,
	}
}

// watch restores a socket that a job removed or that a second dockerd replaced: the daemon, or the
// machine itself, still listens on it. It waits for a second look while there is a dockerd, which
// creates a new socket at its start. It also remembers settings that proved good.
func (m *Machine) watch() {
	listens := m.Dockerd.process != nil && !m.Dockerd.readyAt.IsZero()
	if listens && time.Since(m.Dockerd.readyAt) >= soon {
		m.good = m.Settings.Current()
	}
	listens = listens || m.Demand != nil && m.phase == asleep
	if m.stopping || !listens || !m.Socket.Lost() {
		m.lost = false
		return
	}
	if m.phase != asleep && !m.lost {
		m.lost = true
		return
	}
	m.lost = false
	if m.Socket.Restore() == nil {
		m.Say(m.Socket.Name() + " was removed and is restored")
	}
}

// stopNext ends the services one after the other: first the agent, then dockerd, then
// containerd. One signal each is enough, except for a daemon that a job has broken. It reports
// whether nothing is left to stop.
func (m *Machine) stopNext() (over bool) {
	if m.verdict != nil && m.Spent() { // it is not used again
		return true
	}
	order := m.daemons()
	if m.Agent != nil {
		order = append([]*Service{m.Agent}, order...)
	}
	at := slices.IndexFunc(order, func(s *Service) bool { return s.process != nil })
	if at < 0 {
		return true
	}
	switch last := order[at]; {
	case last.asked.IsZero() && last == m.Agent && m.network:
		last.asked = time.Now()
		_ = last.process.Signal(syscall.SIGKILL)
	case last.asked.IsZero():
		last.asked = time.Now()
		_ = last.process.Signal(syscall.SIGTERM)
		_ = last.process.Signal(syscall.SIGCONT) // a job may have stopped it
	case last != m.Agent && time.Since(last.asked) >= stopLimit:
		m.Say(fmt.Sprintf("%s did not end within %d seconds: killed", last.Name, stopLimit/time.Second))
		_ = last.process.Signal(syscall.SIGKILL)
		last.asked = time.Now()
	}
	return false
}
