//go:build linux

// Package outer is the part of the runtime in the outer tree: PID 1 of the container, uid 1001.
// It makes the machine's namespaces with the maps of newuidmap and newgidmap, runs the program
// for its network, forwards a stop, and ends with the machine. It imports only the machine's
// settings and processes.
package outer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/contract"
	"github.com/runnerctl/runnerctl/internal/machine/link"
	"github.com/runnerctl/runnerctl/internal/machine/process"
)

// Inside is the argument with which the program runs as the machine's init. Its descriptor 3 is
// the link.
const Inside = "inside"

// self is this program, also after its file is gone from the tree that is visible.
const self = "/proc/self/exe"

const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Run runs the container and returns its exit code. Out is its log.
func Run(out io.Writer) (code int) {
	c := &container{began: time.Now(), out: out, signals: make(chan os.Signal, 4), runtime: os.Getenv("XDG_RUNTIME_DIR")}
	signal.Notify(c.signals, unix.SIGTERM, unix.SIGINT)
	code, err := codeFailed, error(nil)
	if c.reaper, err = process.NewReaper(); err == nil {
		code, err = c.run()
	}
	if err != nil {
		c.say("%v", err)
	}
	return code
}

// container is the state of this process.
type container struct {
	began   time.Time
	out     io.Writer
	reaper  *process.Reaper
	signals chan os.Signal
	runtime string // a folder of this process
	entered atomic.Bool
}

func (c *container) say(format string, values ...any) {
	_, _ = fmt.Fprintln(c.out, "start: "+strings.ReplaceAll(fmt.Sprintf(format, values...), "\n", "; "))
}

const (
	codeFailed = 1
	codeUsage  = 2 // the environment is wrong
)

func (c *container) run() (code int, err error) {
	boot, credential, code, err := c.boot()
	if err != nil {
		return code, err
	}
	driver := boot.Settings.Network
	if err := c.check(); err != nil {
		return codeFailed, err
	}
	own, other, err := link.Pair()
	if err != nil {
		return codeFailed, err
	}
	running, err := c.start(credential, other)
	other.Close()
	credential.Close()
	if err != nil {
		c.diagnose()
		return codeFailed, err
	}
	if err := c.writeMaps(running.PID); err != nil {
		_ = running.Signal(unix.SIGKILL)
		c.diagnose()
		return codeFailed, err
	}
	if err := own.Send(link.Message{Boot: boot}); err != nil {
		return codeFailed, err
	}
	go c.listen(own)
	network, err := c.startNetwork(driver, running.PID)
	if err != nil {
		_ = running.Signal(unix.SIGKILL)
		return codeFailed, err
	}
	stopping := c.attend(own, running, network)
	code = running.Code()
	if code != 0 && !stopping && !c.entered.Load() {
		c.diagnose()
	}
	return code, nil
}

// boot reads the environment: runnerctl's settings, or variables of other runner images.
func (c *container) boot() (boot *link.Boot, credential *os.File, code int, err error) {
	settings, err := machine.FromEnvironment(os.Getenv)
	if err != nil {
		return nil, nil, codeUsage, err
	}
	boot = &link.Boot{Settings: settings, Began: c.began.UnixNano(), Runtime: c.runtime}
	if !contract.Given(os.Getenv) {
		return boot, os.Stdin, 0, nil
	}
	if _, err := os.Stat("/rootfs/usr/lib/runnerctl/hooks"); err != nil { // this user may not enter the agent's folder
		return nil, nil, codeUsage, errors.New("this image contains no agent: runnerctl build adds it if runnerctl.yaml has a target")
	}
	agent, line, err := contract.Read(os.Getenv, suffix)
	if err != nil {
		return nil, nil, codeUsage, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, codeFailed, err
	}
	go func() { // a key is longer than a pipe may hold
		_, _ = io.WriteString(write, line+"\n")
		write.Close()
	}()
	if agent.Work == "" {
		agent.Work = "_work"
	}
	boot.Settings.Agent = &agent
	return boot, read, 0, nil
}

// check reports a missing option of the container.
func (c *container) check() error {
	on := knobsHere()
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("missing: /dev/net/tun: " + on.tun)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("/dev/net/tun is not open to uid %d: %s", os.Getuid(), on.tunMode)
	case err == nil:
		tun.Close()
	}
	if unix.Access(c.runtime, unix.W_OK) != nil {
		return fmt.Errorf("missing: a place for the start's own files: "+on.runtime, c.runtime)
	}
	return nil
}

// start starts the machine's init in new namespaces. It has no maps yet, so it keeps its
// capabilities as ambient ones over the exec.
func (c *container) start(credential, link *os.File) (*process.Process, error) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return nil, err
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	var capabilities []uintptr
	for capability := range last + 1 {
		capabilities = append(capabilities, uintptr(capability))
	}
	return c.reaper.Start(process.Spec{
		Path: self, Args: []string{Inside}, Env: machine.ProxyVariables(os.Environ()), Files: []*os.File{credential, os.Stdout, os.Stderr, link},
		Sys: &syscall.SysProcAttr{Cloneflags: namespaces, AmbientCaps: capabilities},
	})
}

// withoutSecrets returns the environment without the variables of the contract and runnerctl's
// own.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(contract.Variables, name) || strings.HasPrefix(name, "RUNNERCTL_")
	})
}

// writeMaps maps the machine's root to this user, and its other ids to the subordinate ones.
func (c *container) writeMaps(pid int) error {
	text, err := os.ReadFile("/etc/subuid")
	if err != nil {
		return err
	}
	blocks, err := subordinate(string(text))
	if err != nil {
		return err
	}
	failures := make(chan error, 2)
	for program, own := range map[string]int{"newuidmap": os.Getuid(), "newgidmap": os.Getgid()} {
		go func() {
			failures <- c.runTool(program, append([]string{strconv.Itoa(pid), "0", strconv.Itoa(own), "1"}, blocks...)...)
		}()
	}
	return errors.Join(<-failures, <-failures)
}

// subordinate returns the arguments of newuidmap for the ranges of /etc/subuid, which has one user:
// the machine's ids from 1 on are those of its lines, one line after the other.
func subordinate(text string) (blocks []string, err error) {
	next := 1
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 {
			return nil, fmt.Errorf("/etc/subuid must hold lines of USER:FIRST:LENGTH; it holds: %s", strings.TrimSpace(text))
		}
		length, err := strconv.Atoi(fields[2])
		if err != nil {
			return nil, fmt.Errorf("/etc/subuid: %w", err)
		}
		blocks = append(blocks, strconv.Itoa(next), fields[1], fields[2])
		next += length
	}
	if len(blocks) == 0 {
		return nil, errors.New("/etc/subuid must hold lines of USER:FIRST:LENGTH; it is empty")
	}
	return blocks, nil
}

// runTool runs a program and returns an error with its words.
func (c *container) runTool(program string, arguments ...string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	running, err := c.reaper.Start(process.Spec{Path: program, Args: arguments, Env: withoutSecrets(os.Environ()), Files: []*os.File{nil, write, write}})
	write.Close()
	if err != nil {
		return err
	}
	said, _ := io.ReadAll(io.LimitReader(read, 4096))
	<-running.Done()
	if code := running.Code(); code != 0 {
		return fmt.Errorf("%s ended with code %d: %s", program, code, bytes.TrimSpace(said))
	}
	return nil
}

// listen notes the reports of the machine.
func (c *container) listen(own *link.End) {
	for {
		message, err := own.Receive()
		if err != nil {
			return
		}
		if message.Entered {
			c.entered.Store(true)
		}
	}
}

// attend waits until the machine ends, and forwards a stop. It reports whether one came.
func (c *container) attend(own *link.End, running *process.Process, network *network) (stopping bool) {
	ended := network.running.Done()
	for {
		select {
		case <-running.Done():
			_ = network.running.Signal(unix.SIGKILL)
			return stopping
		case <-c.signals:
			stopping = true
			_ = own.Send(link.Message{Stop: true}) // it fails only when the machine has ended
		case <-ended:
			ended = nil
			for _, line := range network.words() {
				c.say("%s: %s", network.driver, line)
			}
			c.say("%s ended, so this runner ends too: it has no network", network.driver)
			_ = own.Send(link.Message{NetworkEnded: true})
		}
	}
}
