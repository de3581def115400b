//go:build linux

// Package process starts and reaps processes, as PID 1 of a process namespace has to: it also
// reaps orphans that others started. It imports no package of runnerctl.
package process

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spec describes a process.
type Spec struct {
	Path  string     // of the program; looked up in PATH of Env if it has no slash
	Args  []string   // without the name, which is Path
	Dir   string     // "": the current folder
	Env   []string   // NAME=VALUE; of several values the last one counts
	Files []*os.File // descriptors 0, 1, 2 and so on; nil: /dev/null
	Sys   *syscall.SysProcAttr
	// OOMScore is the process's oom_score_adj; 0: that of this process. The kernel ends
	// processes with a high value first.
	OOMScore int
}

// Expendable is the OOM score of jobs and of commands from outside: if memory runs out, they are
// killed before the daemons.
const Expendable = 500

// Process is a process that a Reaper started.
type Process struct {
	PID    int
	reaper *Reaper
	done   chan struct{}
	status unix.WaitStatus
}

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Code is the exit code after Done, or 128 plus the number of the signal that ended the
// process.
func (p *Process) Code() int {
	if p.status.Signaled() {
		return 128 + int(p.status.Signal())
	}
	return p.status.ExitStatus()
}

// Signal sends a signal. A process that has ended gets none, even if its PID is in use again.
func (p *Process) Signal(signal syscall.Signal) error { return p.kill(p.PID, signal) }

// SignalGroup sends a signal to the process group that the process leads.
func (p *Process) SignalGroup(signal syscall.Signal) error { return p.kill(-p.PID, signal) }

func (p *Process) kill(pid int, signal syscall.Signal) error {
	p.reaper.mutex.Lock()
	defer p.reaper.mutex.Unlock()
	if p.reaper.running[p.PID] != p {
		return os.ErrProcessDone
	}
	return unix.Kill(pid, signal)
}

// Reaper starts processes and reaps all children of this process. Its files are open from the
// beginning: a job may remove their names.
type Reaper struct {
	mutex   sync.Mutex
	running map[int]*Process
	null    *os.File // /dev/null
	score   *os.File // the OOM score of this process
	tasks   *os.File // the threads of this process
}

// NewReaper returns a Reaper. A program may have one, and must start no process in another way.
func NewReaper() (*Reaper, error) {
	r := &Reaper{running: map[int]*Process{}}
	for file, target := range map[string]**os.File{"/dev/null": &r.null, "/proc/self/oom_score_adj": &r.score} {
		opened, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		*target = opened
	}
	tasks, err := os.Open("/proc/self/task")
	if err != nil {
		return nil, err
	}
	r.tasks = tasks
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			r.reap()
		}
	}()
	return r, nil
}

// reap collects every child that has ended. Signals merge, so one may stand for several.
func (r *Reaper) reap() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if process := r.running[pid]; process != nil {
			delete(r.running, pid)
			process.status = status
			close(process.done)
		}
	}
}

// Start starts a process. It holds the lock until the process is known, so that reap can't miss
// the end of a short one.
func (r *Reaper) Start(spec Spec) (*Process, error) {
	path, err := LookPath(spec.Path, spec.Env)
	if err != nil {
		return nil, err
	}
	attributes := &syscall.ProcAttr{Dir: spec.Dir, Env: unique(spec.Env), Sys: spec.Sys}
	for _, file := range spec.Files {
		if file == nil {
			file = r.null
		}
		attributes.Files = append(attributes.Files, file.Fd())
	}
	for len(attributes.Files) < 3 {
		attributes.Files = append(attributes.Files, r.null.Fd())
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if spec.OOMScore != 0 { // a child inherits it
		r.setScore(spec.OOMScore)
		defer r.setScore(0)
	}
	pid, err := syscall.ForkExec(path, append([]string{spec.Path}, spec.Args...), attributes)
	if err != nil {
		return nil, &os.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	process := &Process{PID: pid, reaper: r, done: make(chan struct{})}
	r.running[pid] = process
	return process, nil
}

// setScore changes the OOM score of this process for a moment. Without the right to do so,
// nothing is lost but the order in which the kernel ends processes.
func (r *Reaper) setScore(score int) { _, _ = r.score.WriteAt([]byte(strconv.Itoa(score)), 0) }

// unique keeps the last value of each variable, because some programs read the first.
func unique(env []string) []string {
	last := map[string]int{}
	for i, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		last[name] = i
	}
	var kept []string
	for i, pair := range env {
		if name, _, _ := strings.Cut(pair, "="); last[name] == i {
			kept = append(kept, pair)
		}
	}
	return kept
}

// Run starts a process and waits for its end.
func (r *Reaper) Run(spec Spec) (code int, err error) {
	process, err := r.Start(spec)
	if err != nil {
		return 0, err
	}
	<-process.Done()
	return process.Code(), nil
}

// SignalStrays sends a signal to the children of this process that another process started, and
// that belong to a user. It returns their number.
func (r *Reaper) SignalStrays(uid uint32, signal syscall.Signal) (count int) {
	r.mutex.Lock() // no PID is used again meanwhile
	defer r.mutex.Unlock()
	for _, pid := range r.children() {
		if r.running[pid] == nil && r.owner(pid) == uid && unix.Kill(pid, signal) == nil {
			count++
		}
	}
	return count
}

// children lists the children of this process.
func (r *Reaper) children() (pids []int) {
	threads, err := unix.Openat(int(r.tasks.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	folder := os.NewFile(uintptr(threads), "task")
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		for _, word := range strings.Fields(r.read(name + "/children")) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// read reads a file below the threads of this process.
func (r *Reaper) read(name string) string {
	fd, err := unix.Openat(int(r.tasks.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var text strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buffer)
		if n <= 0 || err != nil {
			return text.String()
		}
		text.Write(buffer[:n])
	}
}

// owner returns the effective uid of a process, or 0 if it has ended.
func (r *Reaper) owner(pid int) uint32 {
	var stat unix.Stat_t
	if unix.Fstatat(int(r.tasks.Fd()), "../../"+strconv.Itoa(pid), &stat, 0) != nil {
		return 0
	}
	return stat.Uid
}
