//go:build linux

package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/docker"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// Problems that the state of dockerd explains further.
const notRunning = "dockerd does not run"

var silent = fmt.Sprintf("dockerd did not answer within %s", patience)

// answer is the result of the user runner's questions to dockerd.
type answer struct {
	version    string
	containers int
	daemon     machine.Daemon
	problem    string
}

// asRunner calls a function with a user's rights for files, as a job has them: a machine that
// answers only root is useless. Rights belong to a thread. Only those for files change, so no job
// may signal the thread. If they can't be given back, the thread ends with this goroutine.
func asRunner(runner user.User, act func()) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		before, err := unix.Getgroups()
		if err == nil {
			err = setRights(runner.UID, runner.Groups)
		}
		if err != nil {
			failed <- err
			return
		}
		act()
		groups := make([]uint32, len(before))
		for i, group := range before {
			groups[i] = uint32(group)
		}
		if err = setRights(0, groups); err == nil {
			runtime.UnlockOSThread()
		}
		failed <- err
	}()
	return <-failed
}

// setRights changes the rights of this thread alone. The functions of package syscall would
// change those of all threads. With the file system uid, the capabilities for files go and come
// back.
func setRights(id uint32, groups []uint32) error {
	first := unsafe.Pointer(unsafe.SliceData(groups))
	if _, _, err := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); err != 0 {
		return os.NewSyscallError("setgroups", err)
	}
	const none = ^uintptr(0) // changes nothing, and returns the id
	for _, call := range []uintptr{unix.SYS_SETFSGID, unix.SYS_SETFSUID} {
		_, _, _ = unix.RawSyscall(call, uintptr(id), 0, 0)
		if got, _, _ := unix.RawSyscall(call, none, 0, 0); got != uintptr(id) {
			return fmt.Errorf("file system ids are still %d, want %d", got, id)
		}
	}
	return nil
}

// checkHome reports why a job could not begin, or "".
func checkHome(runner user.User) string {
	if runner.Name == "" {
		return "/etc/passwd has no user runner"
	}
	info, err := os.Stat(runner.Home)
	switch {
	case errors.Is(err, os.ErrPermission):
		return "the user runner may not enter " + runner.Home
	case err != nil:
		return fmt.Sprintf("the user runner has no home: %v", err)
	case !info.IsDir():
		return "the user runner has no home: " + runner.Home + " is not a folder"
	}
	return ""
}

// maxAnswer limits an answer of dockerd in bytes.
const maxAnswer = 1 << 20

// ask asks dockerd for its running containers, and for its own description.
func (m Machine) ask(details bool) (got answer) {
	body, version, problem := m.get("/containers/json?limit=1&filters=" + url.QueryEscape(`{"status":["running"]}`))
	if problem != "" {
		return answer{problem: problem}
	}
	got.version = version
	var containers []json.RawMessage
	_ = json.Unmarshal(body, &containers) // a forged answer counts as none
	got.containers = len(containers)
	if details {
		if body, _, problem = m.get("/info"); problem == "" {
			_ = json.Unmarshal(body, &got.daemon)
		}
	}
	return got
}

// connect connects to dockerd with the rights of the user runner, which the socket checks.
func (m Machine) connect() (connection net.Conn, problem string) {
	runner := user.Find(m.Root, user.Runner)
	var err error
	failed := asRunner(runner, func() {
		if problem = checkHome(runner); problem == "" {
			connection, err = net.Dial("unix", m.Socket)
		}
	})
	switch {
	case failed != nil:
		return nil, fmt.Sprintf("user %d: %v", runner.UID, failed)
	case err != nil:
		return nil, m.problem(err)
	}
	return connection, problem
}

// get calls dockerd.
func (m Machine) get(path string) (body []byte, version, problem string) {
	connection, problem := m.connect()
	if problem != "" {
		return nil, "", problem
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(m.patience()))
	response, err := docker.Ask(connection, http.MethodGet, path, maxAnswer)
	if err != nil {
		return nil, "", m.problem(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, "", "dockerd answers " + response.Status
	}
	version, _ = docker.Version(response)
	if body, err = io.ReadAll(response.Body); err != nil {
		return nil, "", m.problem(err)
	}
	return body, version, ""
}

// problem words an error for an operator.
func (m Machine) problem(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return m.Socket + " is gone"
	case errors.Is(err, unix.ECONNREFUSED):
		return notRunning
	case errors.Is(err, os.ErrPermission):
		return "the user runner may not use " + m.Socket
	case errors.Is(err, os.ErrDeadlineExceeded):
		return silent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return "dockerd answers nothing"
	}
	return err.Error()
}
