//go:build linux

// Package inner is the part of the runtime in the machine: uid 0 and first process of the job's
// machine. It mounts the machine, pivots into it, and stays its init. It puts the other parts
// together and decides nothing.
package inner

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/agent"
	"github.com/runnerctl/runnerctl/internal/machine/control"
	"github.com/runnerctl/runnerctl/internal/machine/docker"
	"github.com/runnerctl/runnerctl/internal/machine/forward"
	"github.com/runnerctl/runnerctl/internal/machine/link"
	"github.com/runnerctl/runnerctl/internal/machine/preload"
	"github.com/runnerctl/runnerctl/internal/machine/process"
	"github.com/runnerctl/runnerctl/internal/machine/rootfs"
	"github.com/runnerctl/runnerctl/internal/machine/services"
	"github.com/runnerctl/runnerctl/internal/machine/status"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// stateFolder is the machine's folder for runnerctl's own files.
const stateFolder = "/run/runnerctl"

// dockerData is the data of the machine's daemons.
const dockerData = "/var/lib/docker"

// path is the PATH of the machine's daemons.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// machineInit is the state of this process.
type machineInit struct {
	boot       *link.Boot
	link       *link.End
	log        *services.Log
	reaper     *process.Reaper
	credential *os.File
	env        []string // of the daemons
	listener   *net.UnixListener
	entered    time.Time // the namespaces have their maps
	pivoted    time.Time
	agent      *agent.Agent   // nil: none
	cache      *forward.Cache // nil: none
	services   *services.Machine
	stops      chan services.Stop
	ready      chan struct{} // closed when jobs may begin
	proxied    chan struct{} // closed when docker's settings have the proxy
}

// Run runs the machine and returns its exit code. Out is the runner's log.
func Run(out io.Writer) (code int) {
	m := &machineInit{
		link: link.New(os.NewFile(3, "link")), log: services.NewLog(out),
		ready: make(chan struct{}), stops: make(chan services.Stop, 4), proxied: make(chan struct{}),
	}
	unix.CloseOnExec(3)
	process.SetName("init")
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	ignoreSignals()
	process.KeepThreads()
	code, err := m.run(signals)
	if err != nil {
		m.log.Say("start", err.Error())
	}
	return code
}

// ignoreSignals keeps a job, which is root here, from ending the machine with a signal for which
// Go has a handler. Not SIG_IGN: other processes would inherit it.
func ignoreSignals() {
	ignored := make(chan os.Signal, 1) // nobody reads it
	signal.Notify(ignored, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE,
		unix.SIGABRT, unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS)
}

func (m *machineInit) run(signals <-chan os.Signal) (code int, err error) {
	first, err := m.link.Receive()
	if err != nil || first.Boot == nil {
		return 1, nil // the container has ended
	}
	m.boot, m.entered = first.Boot, time.Now()
	if err := m.becomeRoot(); err != nil {
		return 1, err
	}
	unix.Umask(0o022)
	if m.credential, err = takeInput(); err != nil {
		return 1, err
	}
	// In the outer tree: no job reaches the socket.
	socket := filepath.Join(m.boot.Runtime, control.SocketName)
	_ = os.Remove(socket) // of an earlier start, if the folder is not a tmpfs
	m.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return 1, err
	}
	m.listener.SetUnlinkOnClose(false)
	if m.boot.Settings.Cache != nil {
		name, _ := os.Hostname() // the runner's: the machine has it too
		if m.cache, err = forward.Open(machine.CacheSocket, name); err != nil {
			return 1, err
		}
	}
	if err := rootfs.Enter(m.boot.Settings.Shm); err != nil {
		return 1, err
	}
	m.pivoted = time.Now()
	if m.reaper, err = process.NewReaper(); err != nil { // here: it keeps the machine's own /dev/null
		return 1, err
	}
	if err := m.link.Send(link.Message{Entered: true}); err != nil {
		return 1, err
	}
	m.env = append(machine.ProxyVariables(os.Environ()), "HOME=/root", "PATH="+path)
	go m.follow(signals)
	if err := m.prepare(); err != nil {
		return 1, err
	}
	if err := m.assemble(); err != nil {
		return 1, err
	}
	return m.services.Run(), nil
}

// becomeRoot takes the rights of the new user namespace's root. They came as ambient
// capabilities; no process of the machine inherits them that way.
func (m *machineInit) becomeRoot() error {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(0, 0, 0), syscall.Setresuid(0, 0, 0)); err != nil {
		return fmt.Errorf("become root of the machine: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return nil
}

// takeInput keeps standard input, which may carry a credential, from every other process. It puts
// /dev/null in its place: a closed descriptor 0 would become another file's.
func takeInput() (credential *os.File, err error) {
	number, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.NewFile(uintptr(number), "credential"), os.NewSyscallError("dup3", unix.Dup3(int(null.Fd()), 0, 0))
}

// prepare makes the folders of the machine's state, and its settings of the network.
func (m *machineInit) prepare() error {
	for folder, mode := range map[string]os.FileMode{"/run/lock": 0o777 | os.ModeSticky, stateFolder: 0o755, "/run/containerd": 0o755} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(folder, mode); err != nil {
			return err
		}
	}
	if err := ownData(dockerData); err != nil {
		return err
	}
	if err := layers(dockerData+"/runnerctl/containers", "/var/lib/containers"); err != nil {
		m.log.Say("start", err.Error())
	}
	if err := m.tools(); err != nil {
		m.log.Say("start", "the tools of the host's cache are missing: "+err.Error())
	}
	groups, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return err
	}
	for file, text := range map[string]string{"ping_group_range": pingGroups(string(groups)), "ip_unprivileged_port_start": "0"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+file, []byte(text), 0); err != nil {
			m.log.Say("start", err.Error())
		}
	}
	return nil
}

// pingGroups is the range of all groups of a gid_map. The kernel refuses a range that ends with a
// group without a map.
func pingGroups(gidMap string) string {
	last := int64(0)
	for _, one := range machine.IDRanges(gidMap) {
		last = max(last, one.Inside+one.Length-1)
	}
	return fmt.Sprintf("0 %d", last)
}

// ownData makes the folder of the daemons' data one of the machine's root. The folder of a pod's
// volume belongs to the pod's root, and dockerd fails because it can't set its mode.
func ownData(place string) error {
	var stat unix.Stat_t
	if err := unix.Stat(place, &stat); err != nil || stat.Uid == 0 {
		return os.NewSyscallError("stat "+place, err)
	}
	own := filepath.Join(place, "machine")
	if err := os.MkdirAll(own, 0o710); err != nil {
		return fmt.Errorf("%w: the volume at %s must be open to uid 1001 or gid 1001 of the container", err, "/rootfs"+place)
	}
	return bind(own, place)
}

func bind(source, place string) error {
	if err := unix.Mount(source, place, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, place, err)
	}
	return nil
}

// layers puts the layers of podman and buildah on the volume: an overlay can't be on another
// overlay. The layers of the user runner are in a folder there.
func layers(source, place string) error {
	own := filepath.Join(source, "runner")
	if err := errors.Join(os.MkdirAll(own, 0o755), os.Lchown(own, user.Runner, user.Runner)); err != nil {
		return err
	}
	return bind(source, place)
}

// tools adds the tools of the host's cache to those of the image. Jobs may change both: the volume has
// their changes.
func (m *machineInit) tools() error {
	const own = dockerData + "/runnerctl/tools"
	if found, err := os.ReadDir(machine.ToolsFolder); errors.Is(err, os.ErrNotExist) || err == nil && len(found) == 0 {
		return nil
	}
	upper, work := filepath.Join(own, "upper"), filepath.Join(own, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o700), os.Lchown(upper, user.Runner, user.Runner)); err != nil {
		return err
	}
	options := fmt.Sprintf("userxattr,lowerdir=%s:%s,upperdir=%s,workdir=%s", machine.ToolsFolder, machine.ToolsPlace, upper, work)
	return os.NewSyscallError("mount "+machine.ToolsPlace, unix.Mount("overlay", machine.ToolsPlace, "overlay", 0, options))
}

// assemble puts the services together.
func (m *machineInit) assemble() error {
	_, err := os.Stat("/proc/net/if_inet6")
	daemons := &docker.Daemons{
		Options: docker.Options{Docker: m.boot.Settings.Docker, MTU: m.boot.Settings.Network.MTU, IPv6: err == nil},
		Reaper:  m.reaper, Log: m.log, Env: m.env, State: stateFolder,
	}
	if err := m.connectCache(&daemons.Options); err != nil {
		return err
	}
	daemons.MergeSettings()
	kept := docker.Kept{Socket: docker.Socket, Second: stateFolder + "/docker.sock"}
	whole := services.Machine{
		Settings: daemons, Socket: kept,
		Say: func(text string) { m.log.Say("start", text) }, Routed: m.routed, Stops: m.stops, Spent: func() bool { return m.agent != nil && m.agent.Spent() },
		Ping: func() (string, bool) { return docker.Ping(docker.Socket) },
	}
	if settings := m.boot.Settings.Docker; settings.OnDemand {
		if daemons.Listener, err = docker.Listen(kept, docker.Client, user.Group("/", "docker")); err != nil {
			return err
		}
		// Hooks read it.
		if err := os.WriteFile(stateFolder+"/on-demand", nil, 0o644); err != nil { //nolint:gosec // jobs may read it
			return err
		}
		whole.Demand, whole.Socket, whole.IdleStop = daemons.Listener, daemons.Listener, time.Duration(settings.IdleStop)*time.Second
	}
	if whole.Containerd, whole.Dockerd, err = daemons.Services(); err != nil {
		return err
	}
	if cache := m.boot.Settings.Cache; cache != nil && cache.Preload {
		before(whole.Containerd, m.preloadContainerd)
		before(whole.Dockerd, m.preload)
	}
	// dockerd reads the choice when it starts, so the choice is made before it: while containerd
	// starts, or before its first use if it starts on demand.
	choose := sync.OnceFunc(daemons.ChooseIptables)
	before(whole.Dockerd, choose)
	whole.Announce = func(services.Snapshot) {
		close(m.ready)
		if whole.Demand != nil {
			go choose()
		}
	}
	if m.boot.Settings.Agent != nil {
		if whole.Agent, err = m.agentService(); err != nil {
			return err
		}
		whole.Working = m.agent.Working
	}
	m.services = services.New(whole)
	m.writeProxy()
	return m.serve()
}

// connectCache makes the host's cache available in the machine. dockerd reaches a mirror without
// TLS only on the loopback address.
func (m *machineInit) connectCache(options *docker.Options) error {
	if m.cache == nil {
		return nil
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", machine.CachePort))
	if err != nil {
		return err
	}
	go m.cache.Serve(listener)
	mirror := docker.Mirror{
		Registries: m.boot.Settings.Cache.Registries,
		Loopback:   fmt.Sprintf("127.0.0.1:%d", machine.CachePort), Address: machine.CacheHostPort,
	}
	options.Mirror = mirror.OfDockerHub()
	if err := mirror.Write("/", map[string]int{"root": 0, "home/runner": user.Runner}); err != nil {
		m.log.Say("start", "the mirror is not set up for some registries: "+err.Error())
	}
	if !m.boot.Settings.Cache.Actions || m.boot.Settings.Agent == nil {
		return nil
	}
	file, err := forward.OpenFile(urlFile)
	if err != nil {
		m.log.Say("start", "actions can't use the cache: "+err.Error())
		return nil
	}
	go m.cache.Announce(file, "http://"+machine.CacheHostPort+"/", nil)
	return nil
}

// before does something before the first start of a service.
func before(service *services.Service, do func()) {
	begin, once := service.Start, sync.OnceFunc(do)
	service.Start = func() (services.Process, error) {
		once()
		return begin()
	}
}

// preloadContainerd is preload for images in containerd's store.
func (m *machineInit) preloadContainerd() {
	if err := preload.LinkContainerd(machine.PreloadFolder, dockerData); err != nil {
		m.log.Say("start", "the preloaded images are missing: "+err.Error())
	}
}

// preload gives a new daemon its first images. Without their links, dockerd loads them once it
// answers.
func (m *machineInit) preload() {
	err := preload.Link(machine.PreloadFolder, dockerData)
	if errors.Is(err, preload.ErrUnknown) {
		m.log.Say("start", "Docker's storage driver is neither overlay2 nor containerd's: loading preloaded images from an archive")
		go func() {
			if err := docker.Load(filepath.Join(machine.PreloadFolder, machine.PreloadArchive)); err != nil {
				m.log.Say("start", "the preloaded images are missing: "+err.Error())
			}
		}()
	} else if err != nil {
		m.log.Say("start", "the preloaded images are missing: "+err.Error())
	}
}

// urlFile is the file that actions read, also those in containers.
const urlFile = "/home/runner/actions-runner/externals/cache-url"

// routed reports whether the network driver has set up its interface, and docker's settings have
// the proxy.
func (m *machineInit) routed() bool {
	select {
	case <-m.proxied:
	default:
		return false
	}
	text, err := os.ReadFile("/proc/net/route")
	return err == nil && strings.Contains(string(text), "\ntap0\t")
}

// writeProxy adds the proxy to docker's settings of the machine's users, while the daemons start.
func (m *machineInit) writeProxy() {
	settings := docker.ClientProxy(m.env)
	if settings == nil {
		close(m.proxied)
		return
	}
	go func() {
		defer close(m.proxied)
		for home, owner := range map[string]int{"/home/runner": user.Runner, "/root": 0} {
			if err := docker.AddClientSettings(home, owner, settings); err != nil {
				m.log.Say("start", fmt.Sprintf("the proxy could not be written to %s/%s: %v", home, docker.ClientSettings, err))
			}
		}
	}()
}

// serve answers commands from outside.
func (m *machineInit) serve() error {
	terminals, err := control.OpenTerminals("/dev/pts")
	if err != nil {
		return err
	}
	inside := status.Machine{Root: "/", Net: "/sys/class/net", Socket: docker.Socket}
	if inside.Proc, err = os.Open("/proc"); err != nil {
		return err
	}
	if inside.Data, err = os.Open(dockerData); err != nil {
		return err
	}
	server := &control.Server{
		Reaper: m.reaper, Root: "/", Base: machine.ProxyVariables(os.Environ()), Settings: m.boot.Settings.Env, Terminals: terminals,
		Status: func(details bool) any { return inside.Report(m.state(), details) },
		Ready:  m.ready, Version: func() string { return m.services.Snapshot().Version },
	}
	go server.Serve(m.listener)
	return nil
}

// state is the state of the services for a report.
func (m *machineInit) state() status.Services {
	now := m.services.Snapshot()
	state := status.Services{Ready: now.Ready, Asleep: now.Asleep, Version: now.Version, Failure: now.Failure}
	for _, phase := range []machine.Moment{
		{Name: "start", At: time.Unix(0, m.boot.Began)}, {Name: "namespace", At: m.entered}, {Name: "machine", At: m.pivoted},
		{Name: "containerd", At: now.Containerd}, {Name: "dockerd", At: now.Dockerd},
	} {
		if !phase.At.IsZero() {
			state.Phases = append(state.Phases, phase)
		}
	}
	for _, restart := range now.Restarts {
		state.Restarts = append(state.Restarts, machine.Moment{Name: restart.Service, At: restart.At})
	}
	if m.agent != nil {
		state.Agent = m.agent.State()
		state.Waiting = m.agent.Waiting()
	}
	return state
}

// follow ends the machine when the container's PID 1, or root of the machine, says so.
func (m *machineInit) follow(signals <-chan os.Signal) {
	stop := func(network bool) {
		select {
		case m.stops <- services.Stop{NetworkEnded: network}:
		default: // as many are on the way
		}
	}
	go func() {
		for range signals {
			stop(false)
		}
	}()
	for {
		message, err := m.link.Receive()
		if err != nil {
			stop(true) // PID 1 has ended, and with it everything
			return
		}
		if message.Stop || message.NetworkEnded {
			stop(message.NetworkEnded)
		}
	}
}
