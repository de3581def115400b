//go:build linux

// Package cleaner removes everything of a job before the next one, in a runner of many jobs. It
// is a process of its own, as root of the job's machine, because the hook that requests it is not
// root. It runs no program and reads no environment, so no file or setting of a job changes it.
//
// Mounts: it sees the files through a mount namespace of its own, created before the first job,
// without the mounts of jobs. So it can't delete files that a job mounted into the workspace or
// over it, and it can remove a folder even if a job mounted over it.
//
// It imports only the machine's users, processes and dockerd.
package cleaner

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/docker"
	"github.com/runnerctl/runnerctl/internal/machine/process"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// Argument is the argument with which the program is the cleaner. The work folder follows it.
const Argument = "cleaner"

// Paths, below the root of the machine. The hooks know the pipes and the copy.
const (
	requestPipe = "/run/runnerctl/clean"
	answerPipe  = "/run/runnerctl/cleaned"
	first       = "/usr/lib/runnerctl/first" // a copy of the image's files, made before the first job
	tools       = "/opt/hostedtoolcache"
)

const (
	// idlePause is the wait without a request before a look at the mounts.
	idlePause = 10 * time.Second
	// initLimit is the time for the init to end processes.
	initLimit = 30 * time.Second
)

// cleaner is the state of this process.
type cleaner struct {
	root     string // prefix of all paths but that of /proc; "" in a machine
	proc     string // its first process sees the job's mounts
	work     string // the work folder
	toInit   io.Writer
	fromInit *os.File
	mounts   *mounts
	docker   daemon
	requests *os.File
	answers  *os.File
}

// Run cleans at each request. It returns only if that is not possible. Descriptors 3 and 4 lead to
// the machine's init and back.
func Run(work string, errs io.Writer) (code int) {
	process.SetName("cleaner")
	process.KeepThreads()
	_ = unix.SetNonblock(4, true) // an answer has a limit
	c := &cleaner{
		proc: "/proc", work: filepath.Clean(work), toInit: os.NewFile(3, "to the init"), fromInit: os.NewFile(4, "from the init"),
		docker: daemon{socket: docker.Socket, pause: time.Second},
	}
	err := c.prepare()
	if err == nil {
		err = c.serve(errs)
	}
	fmt.Fprintln(errs, "the cleaner ends:", err)
	return 1
}

func (c *cleaner) path(elements ...string) string {
	return filepath.Join(append([]string{"/", c.root}, elements...)...)
}

// prepare opens and copies everything that a job could change. The copy is the last step: it shows
// the hooks that there is a cleaner.
func (c *cleaner) prepare() (err error) {
	if c.mounts, err = newMounts(filepath.Join(c.proc, "1"), c.path(c.work)); err != nil {
		return err
	}
	for place, pipe := range map[string]**os.File{requestPipe: &c.requests, answerPipe: &c.answers} {
		place = c.path(place)
		if err := errors.Join(unix.Mkfifo(place, 0o600), os.Lchown(place, user.Runner, user.Runner)); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		// Open for both directions: an answer without a reader blocks nothing.
		if *pipe, err = os.OpenFile(place, os.O_RDWR, 0); err != nil {
			return err
		}
	}
	return c.keepSettings()
}

// serve cleans at each line, which identifies a request. It answers with the line and the errors.
func (c *cleaner) serve(errs io.Writer) error {
	lines := bufio.NewReader(c.requests)
	for {
		if err := c.requests.SetReadDeadline(time.Now().Add(idlePause)); err != nil {
			return err
		}
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			asker := strings.TrimSpace(string(line))
			if _, err := fmt.Fprintf(c.answers, "%s %s\n", asker, summary(c.clean())); err != nil {
				return err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.look(); err != nil {
				fmt.Fprintln(errs, err)
			}
		case !errors.Is(err, bufio.ErrBufferFull): // such a line is not from the hook
			return err
		}
	}
}

// clean removes everything of a job.
func (c *cleaner) clean() error {
	return errors.Join(c.endStrays(), c.docker.clean(), c.forget(), c.mounts.unmount(), c.empty())
}

// Limits of a summary: lines of errors, and bytes.
const (
	summaryLines = 5
	maxSummary   = 2000
)

// summary returns an error as one line for the job's log.
func summary(err error) string {
	if err == nil {
		return ""
	}
	lines := strings.Split(err.Error(), "\n")
	text := strings.Join(lines[:min(len(lines), summaryLines)], ";")
	return text[:min(len(text), maxSummary)]
}

// endStrays lets the machine's init end processes that a job left running as runner. Such a
// process has lost its parent, so it is a child of the init that the init did not start.
func (c *cleaner) endStrays() error {
	_, err := fmt.Fprintln(c.toInit)
	var left string
	if err == nil {
		_ = c.fromInit.SetReadDeadline(time.Now().Add(initLimit))
		left, err = bufio.NewReader(c.fromInit).ReadString('\n')
	}
	if err != nil {
		return errors.New("the init does not answer")
	}
	if left = strings.TrimSpace(left); left != "0" {
		return fmt.Errorf("processes of the job are still running: %s", left)
	}
	return nil
}

// look unmounts, if no job runs: a mount over the work folder prevents every job, and so also the
// request of the hook.
func (c *cleaner) look() error {
	if places, err := c.mounts.find(); err != nil || len(places) == 0 || !idle(processes(c.proc)) {
		return err
	}
	return c.mounts.unmount()
}
