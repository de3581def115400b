//go:build linux

package services

import (
	"fmt"
	"syscall"
	"time"
)

// Demand is dockerd's socket while the machine itself listens on it. Clients that connect are
// kept waiting until dockerd, which gets the same socket, accepts them.
type Demand interface {
	// Await blocks until a client waits.
	Await()
	// Refuse answers all clients with an error that has the reason, until Hold.
	Refuse(reason string)
	// Hold lets clients wait again.
	Hold()
	// Used reports whether a client is connected or a container runs.
	Used() bool
}

// phase is the state of daemons that start on demand.
type phase int

const (
	asleep phase = iota
	awake
	resting // they end, because nothing used them
	broken  // they don't start, so the machine ends after its job
)

// usePause is the wait between two questions whether the daemons are used, as a part of IdleStop.
const usePause = 10

// wordsPause is the time in which clients get the last words of a daemon that does not start.
const wordsPause = 5 * time.Second

// Wake starts the daemons if they are asleep.
func (m *Machine) Wake() {
	select {
	case m.wakes <- struct{}{}:
	case <-m.done:
	}
}

// sleep lets the next client wake the daemons.
func (m *Machine) sleep() {
	m.phase = asleep
	go func() {
		m.Demand.Await()
		m.Wake()
	}()
}

func (m *Machine) wake() {
	switch m.phase {
	case asleep:
		m.phase, m.used = awake, time.Now()
		m.Containerd.due, m.Dockerd.due = time.Time{}, time.Time{}
	case resting:
		m.again = true
	}
}

// watchUse wakes the daemons when a job begins, stops daemons that nothing has used for
// IdleStop, and ends a machine without a job whose daemons don't start.
func (m *Machine) watchUse() {
	if m.Demand == nil || m.stopping {
		return
	}
	switch m.phase {
	case asleep:
		if m.Working() {
			m.wake()
		}
	case awake:
		if m.IdleStop > 0 && !m.Dockerd.readyAt.IsZero() && !m.looking && time.Since(m.looked) >= m.IdleStop/usePause {
			m.looking = true
			go m.look()
		}
	case resting, broken:
		for _, service := range m.daemons() {
			if service.process != nil && !service.asked.IsZero() && time.Since(service.asked) >= stopLimit {
				_ = service.process.Signal(syscall.SIGKILL)
			}
		}
		if m.phase == broken && time.Since(m.failed) >= wordsPause && !m.Working() {
			m.gaveUp, m.stopping = true, true
		}
	}
}

// look asks whether something uses the daemons.
func (m *Machine) look() {
	used := m.Working() || m.Demand.Used()
	select {
	case m.uses <- used:
	case <-m.done:
	}
}

// judgeUse handles the answer to the question of watchUse.
func (m *Machine) judgeUse(used bool) {
	now := time.Now()
	m.looking, m.looked = false, now
	if m.used.Before(m.Dockerd.readyAt) {
		m.used = m.Dockerd.readyAt
	}
	if used {
		m.used = now
	}
	if m.phase == awake && m.Dockerd.process != nil && now.Sub(m.used) >= m.IdleStop {
		m.Say(fmt.Sprintf("nothing has used Docker for %s: it stops, and starts at its next use", m.IdleStop))
		m.phase = resting
		m.rest()
	}
}

// rest stops unused daemons one after the other: dockerd, then containerd.
func (m *Machine) rest() {
	for _, service := range m.daemons() {
		if service.process == nil {
			continue
		}
		if service.asked.IsZero() {
			service.asked = time.Now()
			_ = service.process.Signal(syscall.SIGTERM)
		}
		return
	}
	if m.phase == broken {
		return
	}
	again := m.again
	m.again = false
	m.sleep()
	if again {
		m.wake()
	}
}

// refuse answers clients with the last words of a daemon that does not start.
func (m *Machine) refuse(service *Service) {
	m.failure = service.Name + " does not start"
	if words := service.LastWords(); words != "" {
		m.failure += ": " + words
	}
	m.Demand.Refuse("the Docker daemon of this runner failed: " + m.failure)
}
