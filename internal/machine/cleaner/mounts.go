//go:build linux

package cleaner

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unmountTries is how often the mounts are looked at: one may hide another.
const unmountTries = 5

// maxLine limits a line of mountinfo, which lists the folders of an overlay.
const maxLine = 1 << 20

// mount is a mount of the machine.
type mount struct{ id, place string }

// mounts are the mounts of the machine, in its own namespace.
type mounts struct {
	info      string // a mountinfo file
	work      string
	before    []mount // they existed before any job
	inMachine func(act func())
}

// newMounts returns the mounts that a process sees, given its folder in /proc.
func newMounts(process, work string) (m *mounts, err error) {
	m = &mounts{info: process + "/mountinfo", work: work}
	if m.before, err = m.list(); err != nil {
		return nil, err
	}
	m.inMachine, err = enter(process + "/ns/mnt")
	return m, err
}

func (m *mounts) list() ([]mount, error) {
	file, err := os.Open(m.info)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseMounts(file)
}

// parseMounts reads mountinfo of proc(5).
func parseMounts(text io.Reader) (all []mount, err error) {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) >= 5 {
			all = append(all, mount{id: fields[0], place: unescape(fields[4])})
		}
	}
	return all, lines.Err()
}

var escaped = regexp.MustCompile(`\\[0-7]{3}`)

// unescape returns a path of mountinfo: \040 is a space.
func unescape(text string) string {
	return escaped.ReplaceAllStringFunc(text, func(code string) string {
		number, _ := strconv.ParseUint(code[1:], 8, 8)
		return string([]byte{byte(number)})
	})
}

// ofJobs returns the places of a job's mounts, newest first: those in the work folder or the tool
// cache, at it, or over a folder that leads to the work folder.
func ofJobs(now, before []mount, work string) (places []string) {
	known := map[mount]bool{}
	for _, one := range before {
		known[one] = true
	}
	for _, one := range slices.Backward(now) {
		if !known[one] && (within(one.place, work) || within(one.place, tools) || within(work, one.place)) {
			places = append(places, one.place)
		}
	}
	return places
}

// within reports whether a path is a folder or below it.
func within(path, folder string) bool { return strings.HasPrefix(path+"/", folder+"/") }

// find returns the places of the jobs' mounts.
func (m *mounts) find() ([]string, error) {
	now, err := m.list()
	return ofJobs(now, m.before, m.work), err
}

// unmount removes the jobs' mounts.
func (m *mounts) unmount() error {
	for try := 0; ; try++ {
		places, err := m.find()
		if err != nil || len(places) == 0 {
			return err
		}
		if try == unmountTries {
			return fmt.Errorf("still mounted: %s", strings.Join(places, " "))
		}
		m.inMachine(func() {
			for _, place := range places {
				_ = unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // the next look finds the rest
			}
		})
	}
}

// enter puts a thread into another mount namespace, and returns a function that lets it do
// something there. The thread stays: a later one could not be made while a job uses up the
// runner's processes.
func enter(namespace string) (do func(act func()), err error) {
	acts, done := make(chan func()), make(chan struct{})
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: no other goroutine may use it
		err := join(namespace)
		entered <- err
		if err != nil {
			return
		}
		for act := range acts {
			act()
			done <- struct{}{}
		}
	}()
	return func(act func()) {
		acts <- act
		<-done
	}, <-entered
}

// join moves this thread alone into another mount namespace. It can't share its current folder
// with other threads then.
func join(namespace string) error {
	file, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("setns", unix.Setns(int(file.Fd()), unix.CLONE_NEWNS))
}
