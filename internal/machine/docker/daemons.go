//go:build linux

package docker

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/process"
	"github.com/runnerctl/runnerctl/internal/machine/regular"
	"github.com/runnerctl/runnerctl/internal/machine/services"
)

// Programs of the job root filesystem's runtime.
const (
	programs = "/usr/lib/runnerctl"
	// containerd finds a runc there that works without control groups, before the original.
	containerdPath = programs + "/containerd"
	// No module can be loaded from a runner, so dockerd finds a modprobe there that does nothing,
	// and a runc that answers questions about itself without being started.
	dockerdPath = programs + "/dockerd"
	// iptablesPath has a static iptables of the older variant, if the image's mirror had sources.
	iptablesPath = programs + "/iptables"
	// asksRootlesskit is there if dockerd is version 28 or newer.
	asksRootlesskit = programs + "/asks-rootlesskit"
)

// Daemons makes the services of containerd and dockerd.
type Daemons struct {
	Options  Options
	Reaper   *process.Reaper
	Log      *services.Log
	Env      []string  // of the machine
	State    string    // a folder for sockets, of root
	Listener *Listener // of a dockerd that starts on demand; nil: at once
	settings []byte    // of dockerd's last start
}

// Services returns the two daemons.
func (d *Daemons) Services() (containerd, dockerd *services.Service, err error) {
	containerd, err = d.service("containerd", func() string { return containerdPath }, nil, func(output *os.File) process.Spec {
		return process.Spec{Path: "containerd", Args: []string{"--config", programs + "/containerd.toml", "--log-level", "warn"}, Files: []*os.File{nil, output, output}}
	})
	if err != nil {
		return nil, nil, err
	}
	var env []string
	if _, err := os.Stat(asksRootlesskit); err == nil {
		if err := serveRootlesskit(filepath.Join(d.State, "api.sock")); err != nil {
			return nil, nil, err
		}
		env = []string{"ROOTLESSKIT_STATE_DIR=" + d.State, "XDG_RUNTIME_DIR=/run"}
	}
	d.read()
	dockerd, err = d.service("dockerd", func() string {
		chosen, _ := os.Readlink(alternatives + "/iptables")
		return dockerdFolders(chosen)
	}, env, d.dockerdSpec)
	return containerd, dockerd, err
}

// dockerdFolders returns the folders at the beginning of dockerd's PATH. dockerd and jobs must use
// the same variant of iptables, so the static one is there only while Debian's alternatives, which
// a job may change, name the older variant.
func dockerdFolders(chosen string) string {
	if chosen == iptablesLegacy {
		return dockerdPath + ":" + iptablesPath
	}
	return dockerdPath
}

// service returns a daemon that reports through systemd's NOTIFY_SOCKET when it is ready. folders
// returns the folders at the beginning of its PATH, for each start.
func (d *Daemons) service(name string, folders func() string, env []string, spec func(output *os.File) process.Spec) (*services.Service, error) {
	notify := filepath.Join(d.State, "notify-"+name)
	ready, err := listenForReady(notify)
	if err != nil {
		return nil, err
	}
	output, err := d.Log.Output(name)
	if err != nil {
		return nil, err
	}
	// Collecting garbage half as often saves a tenth of the start's processor time; a busy
	// dockerd then uses about 15 MiB more.
	env = append(slices.Clone(env), "NOTIFY_SOCKET="+notify, "GOGC=200")
	return &services.Service{Name: name, Ready: ready, Flush: output.Flush, LastWords: output.Last, Start: func() (services.Process, error) {
		started := spec(output.Write)
		started.Env, started.Sys = append(withPath(d.Env, folders()), env...), ownGroup
		return d.Reaper.Start(started)
	}}, nil
}

// withPath puts folders at the beginning of PATH.
func withPath(env []string, folders string) []string {
	changed := slices.Clone(env)
	for i, pair := range changed {
		if path, ok := strings.CutPrefix(pair, "PATH="); ok {
			changed[i] = "PATH=" + folders + ":" + path
		}
	}
	return changed
}

// listenForReady returns a channel that gets a value for each READY=1 of sd_notify(3).
func listenForReady(path string) (<-chan struct{}, error) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil {
				return
			}
			if slices.Contains(strings.Split(string(message[:n]), "\n"), "READY=1") {
				ready <- struct{}{}
			}
		}
	}()
	return ready, nil
}

// read reads the machine's settings of dockerd, which a job may change.
func (d *Daemons) read() (exists bool) {
	text, err := regular.ReadFile(SettingsFile)
	d.settings = text
	return !errors.Is(err, os.ErrNotExist)
}

// Current implements services.Settings.
func (d *Daemons) Current() string { return string(d.settings) }

// Name implements services.Settings.
func (d *Daemons) Name() string { return SettingsFile }

// dockerdSpec describes a dockerd with the current settings.
func (d *Daemons) dockerdSpec(output *os.File) process.Spec {
	exists := d.read()
	if folder := otherDataRoot(d.settings); folder != "" {
		if err := bindDataRoot(folder); err != nil {
			d.Log.Say("start", fmt.Sprintf("%s: data-root %s: %v", SettingsFile, folder, err))
		}
	}
	_ = os.Remove("/run/docker.pid") // of a daemon that was killed
	spec := process.Spec{Path: "dockerd", Files: []*os.File{nil, output, output}}
	options := d.Options
	if d.Listener != nil {
		if slices.Contains(keys(d.settings), "hosts") {
			d.Listener.release()
		}
		if file := d.Listener.opened(); file != nil {
			options.Listens = true
			spec.Path, spec.Files = "/bin/sh", append(spec.Files, file)
			spec.Args = []string{"-c", activate, "dockerd"}
		}
	}
	spec.Args = append(spec.Args, options.Arguments(d.settings, exists)...)
	return spec
}

// bindDataRoot makes another folder usable for dockerd's data: it would be on the container's
// overlay, which can't hold another overlay.
func bindDataRoot(folder string) error {
	if !filepath.IsAbs(folder) {
		return nil // dockerd refuses it
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var top, there unix.Stat_t
	if err := errors.Join(unix.Stat("/", &top), unix.Stat(folder, &there)); err != nil || top.Dev != there.Dev {
		return err
	}
	return unix.Mount(dataRoot, folder, "", unix.MS_BIND, "")
}

// MergeSettings adds the operator's settings to the machine's.
func (d *Daemons) MergeSettings() {
	operator := d.Options.Daemon
	if len(operator) == 0 {
		return
	}
	own, err := regular.ReadFile(SettingsFile)
	text := []byte(operator)
	if err == nil && len(own) > 0 {
		if text, err = merge(own, operator); err != nil {
			d.Log.Say("start", SettingsFile+" is not a JSON object: runners.dockerd is not added to it")
			return
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(SettingsFile), 0o755), os.WriteFile(SettingsFile, text, 0o644)); err != nil {
		d.Log.Say("start", err.Error())
	}
}

// maxAnswer limits an answer in bytes: a job may listen on the socket.
const maxAnswer = 64 << 10

// Ping asks the dockerd at a socket for its version. /version would run three programs.
func Ping(socket string) (version string, ok bool) {
	response, err := ask(socket, http.MethodHead, "/_ping")
	if err != nil {
		return "", false
	}
	defer response.Body.Close()
	version, ok = Version(response)
	return version, ok && response.StatusCode == http.StatusOK
}

// Kept is a second name for dockerd's socket, with which a job's removal can be undone.
type Kept struct {
	Socket string
	Second string // the other name
}

// Name implements services.Socket.
func (k Kept) Name() string { return k.Socket }

// Keep implements services.Socket.
func (k Kept) Keep() error {
	_ = os.Remove(k.Second)
	return os.Link(k.Socket, k.Second)
}

// Lost implements services.Socket.
func (k Kept) Lost() bool {
	var kept, now unix.Stat_t
	if unix.Lstat(k.Second, &kept) != nil {
		return false
	}
	return unix.Lstat(k.Socket, &now) != nil || now.Ino != kept.Ino || now.Dev != kept.Dev
}

// Restore implements services.Socket.
func (k Kept) Restore() error {
	if err := os.Remove(k.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Link(k.Second, k.Socket)
}

// rootlesskitInfo answers a rootless dockerd, which asks rootlesskit since version 28 which
// ports are forwarded from outside: none.
const rootlesskitInfo = `{"apiVersion":"1.1.1","version":"2.0.0","stateDir":"/run/runnerctl","childPID":1,"networkDriver":{"driver":"tap","dns":["169.254.213.3"],"childIP":"169.254.213.100"}}`

func serveRootlesskit(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(rootlesskitInfo))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"no port driver"}`))
	})
	go func() { _ = http.Serve(listener, mux) }() //nolint:gosec // one client, the machine's own daemon
	return nil
}

// iptablesTest are the rules that dockerd needs.
const iptablesTest = `*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j RETURN
-A POSTROUTING -j MASQUERADE
COMMIT
*filter
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`

// Debian's choice between the variants of iptables is a link in the folder of alternatives.
const (
	alternatives   = "/etc/alternatives"
	iptablesLegacy = "/usr/sbin/iptables-legacy"
)

// ChooseIptables selects one of Debian's two variants. dockerd calls iptables about seventy
// times at its start, and the older one, the image's default, is faster. It works if the
// kernel has its tables, which can't be loaded from here; jobs get the same variant, because
// otherwise they would not see dockerd's rules.
func (d *Daemons) ChooseIptables() {
	now, err := os.Readlink(alternatives + "/iptables")
	if err != nil || now != "/usr/sbin/iptables-nft" && now != iptablesLegacy {
		return // not Debian's, or an operator's choice
	}
	kind := "nft"
	if d.tries("iptables-legacy-restore", "--test") {
		kind = "legacy"
	}
	if now == "/usr/sbin/iptables-"+kind {
		return
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore"} {
		link := filepath.Join(alternatives, name)
		_ = os.Remove(link)
		if err := os.Symlink("/usr/sbin/"+strings.Replace(name, "iptables", "iptables-"+kind, 1), link); err != nil {
			d.Log.Say("start", err.Error())
		}
	}
}

// tryLimit is the time for a program to accept the rules.
const tryLimit = 2 * time.Second

// ownGroup keeps a process from the signals of a terminal that the container has.
var ownGroup = &syscall.SysProcAttr{Setpgid: true}

// tries reports whether a program accepts the rules.
func (d *Daemons) tries(program string, arguments ...string) bool {
	read, write, err := os.Pipe()
	if err != nil {
		return false
	}
	defer read.Close()
	_, err = write.WriteString(iptablesTest) // less than a pipe holds
	write.Close()
	if err != nil {
		return false
	}
	running, err := d.Reaper.Start(process.Spec{Path: program, Args: arguments, Env: d.Env, Files: []*os.File{read}, Sys: ownGroup})
	if err != nil {
		return false
	}
	select {
	case <-running.Done():
		return running.Code() == 0
	case <-time.After(tryLimit):
		_ = running.SignalGroup(unix.SIGKILL)
		return false
	}
}
