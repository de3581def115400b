//go:build linux

package cleaner

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine/treetest"
)

const workFolder = home + "/actions-runner/_work"

// list returns the files and the empty folders of a folder, the latter with a slash at the end.
func list(t *testing.T, root string) (entries []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := strings.TrimPrefix(path, root+"/")
		if entry.IsDir() {
			name += "/"
		}
		entries = append(entries, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Clone(entries)
	return slices.DeleteFunc(entries, func(name string) bool {
		return slices.ContainsFunc(all, func(other string) bool {
			return other != name && strings.HasPrefix(other, name) && strings.HasSuffix(name, "/")
		})
	})
}

// job is a process that stands for the machine's init: it sees mounts that this process does not.
type job struct {
	t      *testing.T
	pid    int
	input  io.Writer
	output *bufio.Reader
}

func newJob(t *testing.T) *job {
	t.Helper()
	enginetest.NeedRoot(t, "a mount namespace", "unshare")
	command := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `echo ready; while read -r line; do eval "$line" 2>&1; echo "code $?"; done`)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		_ = command.Wait()
	})
	j := &job{t: t, pid: command.Process.Pid, input: input, output: bufio.NewReader(output)}
	if line, err := j.output.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v, want a namespace", line, err)
	}
	return j
}

// runs runs a line of a shell in the job's namespace.
func (j *job) runs(line string) {
	j.t.Helper()
	fmt.Fprintln(j.input, line)
	said, err := j.output.ReadString('\n')
	if err != nil || said != "code 0\n" {
		j.t.Fatalf("%s: %q, %v", line, said, err)
	}
}

func (j *job) mountinfo() string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", j.pid))
	if err != nil {
		j.t.Fatal(err)
	}
	return string(text)
}

// stage is a cleaner with a job, in a folder of its own.
type stage struct {
	*cleaner
	t   *testing.T
	job *job
	// left is the answer of the init.
	left string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, job: newJob(t), left: "0"}
	s.cleaner = &cleaner{root: t.TempDir(), proc: t.TempDir(), work: workFolder, docker: daemon{socket: newEngine(t).socket}}
	treetest.Build(t, s.root, "run/runnerctl/", "home/runner/", "root/", workFolder+"/_temp/", workFolder+"/api/api/")
	if err := os.Symlink(fmt.Sprintf("/proc/%d", s.job.pid), filepath.Join(s.proc, "1")); err != nil {
		t.Fatal(err)
	}
	asks, toInit, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromInit, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.toInit, s.fromInit = toInit, fromInit
	go func() {
		for asked := bufio.NewScanner(asks); asked.Scan(); {
			fmt.Fprintln(answers, s.left)
		}
	}()
	t.Cleanup(func() {
		for _, end := range []*os.File{asks, toInit, fromInit, answers} {
			end.Close()
		}
	})
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

// request writes a line as the hook does.
func (s *stage) request(asker string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(requestPipe), []byte(asker+"\n"), 0); err != nil {
		s.t.Fatal(err)
	}
}

func TestRequests(t *testing.T) {
	s := newStage(t)
	for _, pipe := range []string{requestPipe, answerPipe} {
		info, err := os.Stat(s.path(pipe))
		if err != nil || info.Mode() != os.ModeNamedPipe|0o600 || info.Sys().(*syscall.Stat_t).Uid != 1001 {
			t.Errorf("%s: %v, %v, want a pipe of runner", pipe, info, err)
		}
	}
	ended := make(chan error)
	go func() { ended <- s.serve(io.Discard) }()
	defer func() {
		s.requests.Close()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed") { // SetReadDeadline has an error of its own
			t.Errorf("ended with %v, want its pipe closed", err)
		}
	}()
	pipe, err := os.OpenFile(s.path(answerPipe), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := pipe.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(pipe)
	for _, test := range []struct{ asker, left, want string }{
		{"1.5", "0", "1.5 \n"},
		{strings.Repeat("x", 5000) + "\n2.5", "0", "2.5 \n"},
		{"3.5", "2", "3.5 processes of the job are still running: 2\n"},
		{"4.5", "0", "4.5 \n"},
	} {
		s.left = test.left
		s.request(test.asker)
		answer, err := answers.ReadString('\n')
		for strings.HasPrefix(answer, "x") { // the rest of the long line counts as a request
			answer, err = answers.ReadString('\n')
		}
		if err != nil {
			t.Fatal(err)
		}
		if answer != test.want {
			t.Errorf("%.10s: got %q, want %q", test.asker, answer, test.want)
		}
	}
}

// Nothing that a job mounted is deleted, in the work folder or over it.
func TestMountsOfAJob(t *testing.T) {
	for name, test := range map[string]struct{ place, target string }{
		"in the workspace":          {workFolder + "/api/api/deep/er", "/canary"},
		"over the workspace":        {workFolder + "/api/api", "/canary"},
		"over the work folder":      {workFolder, "/canary"},
		"over the agent's folder":   {home + "/actions-runner", "/canary"},
		"with a space in its name":  {workFolder + "/api/api/a b", "/canary"},
		"a file":                    {workFolder + "/api/api/file", "/canary/file"},
		"in files of the job":       {workFolder + "/_temp/own", "/canary"},
		"in the folder of an agent": {workFolder + "/api", "/canary"},
	} {
		s := newStage(t)
		treetest.Build(t, s.root, "canary/api/api/deep/er/file", "canary/file", workFolder+"/api/api/deep/er/own", workFolder+"/api/api/file",
			workFolder+"/api/api/a b/own", workFolder+"/_temp/own/own")
		s.job.runs(fmt.Sprintf("mount --bind '%[1]s%[2]s' '%[1]s%[3]s' && mount --bind '%[1]s%[2]s' '%[1]s%[3]s'", s.root, test.target, test.place))
		if !strings.Contains(s.job.mountinfo(), "/canary") {
			t.Fatalf("%s: nothing is mounted", name)
		}
		if err := s.clean(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(s.job.mountinfo(), "/canary") {
			t.Errorf("%s: still mounted\n%s", name, s.job.mountinfo())
		}
		if got := list(t, s.root+"/canary"); !slices.Equal(got, []string{"api/api/deep/er/file", "file"}) {
			t.Errorf("%s: mounted are %v, want everything kept", name, got)
		}
		if got := list(t, s.root+workFolder); !slices.Equal(got, []string{"_temp/", "api/api/"}) {
			t.Errorf("%s: left are %v, want an empty workspace", name, got)
		}
	}
}

// The older mount is over the newer one.
func TestMountThatHidesAnother(t *testing.T) {
	s := newStage(t)
	treetest.Build(t, s.root, "canary/file", "other/", workFolder+"/api/api/deep/")
	s.job.runs(fmt.Sprintf("mount -t tmpfs other '%[1]s/other' && mount --bind '%[1]s/canary' '%[1]s%[2]s/api/api/deep' && mount --move '%[1]s/other' '%[1]s%[2]s/api'", s.root, workFolder))
	if err := s.clean(); err != nil || strings.Contains(s.job.mountinfo(), s.root) {
		t.Errorf("%v: still mounted\n%s", err, s.job.mountinfo())
	}
	if got := list(t, s.root+"/canary"); !slices.Equal(got, []string{"file"}) {
		t.Errorf("mounted are %v, want the file", got)
	}
}

// A mount from before the first job stays, and so does its content.
func TestMountsOfAnOperator(t *testing.T) {
	enginetest.NeedRoot(t, "a mount namespace", "unshare")
	root := t.TempDir()
	treetest.Build(t, root, workFolder+"/api/api/cache/", workFolder+"/api/api/file", workFolder+"/api/mounted/", workFolder+"/_temp/mounted/")
	separately(t, func() {
		for _, place := range []string{"/api/api/cache", "/api/mounted", "/_temp/mounted"} {
			place = root + workFolder + place
			if err := errors.Join(unix.Mount("tmpfs", place, "tmpfs", 0, ""), os.WriteFile(place+"/kept", nil, 0o600)); err != nil {
				t.Error(err)
			}
		}
		c := &cleaner{root: root, work: workFolder}
		if err := c.empty(); !errors.Is(err, unix.EBUSY) || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("got %v, want the two mounts that are in the way", err)
		}
		if got, want := list(t, root+workFolder), []string{"_temp/mounted/kept", "api/api/cache/kept", "api/mounted/kept"}; !slices.Equal(got, want) {
			t.Errorf("left are %v, want %v", got, want)
		}
	})
}

// separately calls a function on a thread with mounts of its own, which then ends.
func separately(t *testing.T, act func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")); err != nil {
			t.Error(err)
			return
		}
		act()
	}()
	<-done
}

func TestLook(t *testing.T) {
	s := newStage(t)
	treetest.Build(t, s.root, "canary/file")
	treetest.Build(t, s.proc, "7/", "8/")
	for pid, stat := range map[string]string{"7": "7 (Runner.Listener) S 1 7", "8": "8 (Runner.Worker) S 7 8"} {
		if err := os.WriteFile(filepath.Join(s.proc, pid, "stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.job.runs(fmt.Sprintf("mount --bind '%s/canary' '%s'", s.root, s.path(workFolder)))
	if err := s.look(); err != nil || !strings.Contains(s.job.mountinfo(), "/canary") {
		t.Errorf("%v: unmounted under a job", err)
	}
	if err := os.RemoveAll(filepath.Join(s.proc, "8")); err != nil {
		t.Fatal(err)
	}
	if err := s.look(); err != nil || strings.Contains(s.job.mountinfo(), "/canary") {
		t.Errorf("%v: still mounted\n%s", err, s.job.mountinfo())
	}
	if got := list(t, s.root+"/canary"); !slices.Equal(got, []string{"file"}) {
		t.Errorf("mounted are %v, want the file", got)
	}
}

func TestInitThatDoesNotAnswer(t *testing.T) {
	closed, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	c := &cleaner{toInit: io.Discard, fromInit: closed}
	if err := c.endStrays(); err == nil || err.Error() != "the init does not answer" {
		t.Errorf("got %v", err)
	}
}

func TestSummary(t *testing.T) {
	several := errors.Join(errors.New("a"), nil, errors.Join(errors.New("b\nc"), errors.New("d")), errors.New("e"), errors.New("f"))
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.Join(nil, nil), ""},
		{errors.New("a"), "a"},
		{several, "a;b;c;d;e"},
		{errors.New(strings.Repeat("x", 5000)), strings.Repeat("x", maxSummary)},
	} {
		if got := summary(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}

func TestChildOfInit(t *testing.T) {
	all := []proc{{"7", "5", "dockerd"}, {"8", "1", "containerd"}, {"9", "1", "dockerd"}}
	if pid, err := childOfInit(all, "dockerd"); err != nil || pid != 9 {
		t.Errorf("got %d, %v, want 9", pid, err)
	}
	if _, err := childOfInit(all[:2], "dockerd"); err == nil {
		t.Error("found a dockerd of a job, want none")
	}
}
