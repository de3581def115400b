package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"time"
)

// Facts holds everything that a check may look at. Facts that a check does not need may be
// empty.
type Facts struct {
	Client    Client
	Endpoint  string // how the engine is reached
	Local     bool   // the engine's machine is this one
	EngineErr error  // the engine does not answer
	Engine    Engine
	Wanted    Wanted

	Machine     Machine
	Space       Space // on the file system of the engine's data
	Container   Container
	NoContainer error // with WantsContainer: why no container could be started
	Registry    Registry
	GitHub      GitHub
	Image       Image
	Rootfs      Rootfs
	Cache       Cache
	Reach       Reach
}

// Client is the system that runnerctl itself runs on.
type Client struct {
	OS    string            // GOOS
	User  string            // the user that runs it; "" if unknown
	Proxy map[string]string // HTTP_PROXY, HTTPS_PROXY, NO_PROXY, if set; without credentials
}

// Engine is the engine's report on itself and its machine.
type Engine struct {
	Version, API, Kernel, System string // System is the distribution
	Name                         string // of its machine
	StorageDriver, RootDir       string
	StorageStatus                map[string]string
	Cgroup, CgroupDriver         string
	SecurityOptions              []string
	Runtimes                     []string
	DefaultRuntime               string
	Warnings                     []string // the engine's own warnings
	LiveRestore                  bool
	Proxy                        map[string]string // as Client.Proxy
	CPUs                         int
	Memory                       int64         // bytes
	Skew                         time.Duration // of its clock against this machine's; positive: it is ahead
	Networks                     []Network
}

// Network is a network of the engine.
type Network struct {
	Name    string
	Default bool // the bridge that containers get by default
	MTU     int  // bytes; 0 if the engine names none
	Blocks  []netip.Prefix

	Apart    bool // its containers can't reach each other
	Unmasked bool // outgoing packets keep the containers' addresses
}

// Wanted holds the requests of the settings.
type Wanted struct {
	Count   int
	CPUs    float64      // cores of a runner
	Memory  int64        // bytes of a runner
	Runtime string       // of the engine; "" for its default
	Devices []string     // of the machine, below /dev
	Pool    netip.Prefix // of the inner daemon; zero if none is free
	Driver  string       // of the runners' network
	Base    []string     // images that a build starts from
	Missing []string     // those of them that the engine lacks
	Target  string       // on GitHub
	Cache   int64        // bytes of the host's cache; 0: none
	IDs     int64        // user and group ids of a runner; on the machine they begin at 100000
}

// Machine is the engine's machine, as files.
type Machine struct {
	Root    fs.FS  // its "/", at least Paths of it
	Process string // folder below Root of a process with the engine's view of the machine, like "proc/1"
	// OwnNetwork reports whether the reader is in the engine's network namespace: proc/sys/net
	// shows the reader's namespace, wherever that /proc is mounted.
	OwnNetwork bool
	// Limits are those of the engine's own process (proc_pid_limits(5)); "" if they can't be
	// read.
	Limits string
}

// Paths are the files of a machine that checks look at, as shell patterns below its root.
// KERNEL stands for the kernel's version. Checks look only at the modes of devices.
var Paths = []string{
	"boot/config-KERNEL",
	"dev/fuse", "dev/kvm", "dev/net/tun", "dev/vhost-net", "dev/vhost-vsock",
	"proc/1/net/ip_tables_names", "proc/1/net/route", "proc/1/mountinfo", "proc/1/status", "proc/1/uid_map",
	"proc/config.gz", "proc/filesystems", "proc/modules",
	"proc/sys/fs/inotify/max_user_instances", "proc/sys/fs/inotify/max_user_watches", "proc/sys/fs/nr_open", "proc/sys/fs/pipe-user-pages-soft",
	"proc/sys/kernel/apparmor_restrict_unprivileged_userns", "proc/sys/kernel/keys/maxbytes", "proc/sys/kernel/keys/maxkeys",
	"proc/sys/kernel/seccomp/actions_avail", "proc/sys/kernel/unprivileged_userns_clone", "proc/sys/user/max_user_namespaces", "proc/sys/vm/max_map_count",
	"sys/class/net/*/mtu",
	"sys/kernel/security/apparmor/profiles",
	"sys/module/bridge", "sys/module/ip_tables", "sys/module/iptable_nat", "sys/module/nf_conntrack", "sys/module/nf_tables", "sys/module/nft_compat",
	"sys/module/overlay", "sys/module/veth", "sys/module/xt_MASQUERADE", "sys/module/xt_addrtype",
}

// Space is the free space of a file system.
type Space struct {
	Free              int64 // bytes
	Inodes, AllInodes int64 // free ones, and all; both 0 if they are made as needed
}

// Container is the view from a container on the engine.
type Container struct {
	Mounts   string // /proc/self/mountinfo
	Limits   string // /proc/self/limits, with the engine's defaults
	Metadata bool   // something answers at MetadataService
	Nowhere  bool   // something answers even at Nowhere, so no answer means anything
	Way      Way    // from the bridge that containers get
	FromHost *Way   // from the machine's own network; nil if the container's way is open
}

// Way describes how far requests from a network get.
type Way struct {
	Asked   bool
	Target  string          // HOST:PORT of the runners' proxy, or of Wanted.Target; "" if there is neither
	Reached bool            // Target was reached
	Servers []string        // DNS servers, in their order
	Answers map[string]bool // those that answered
}

// Open reports whether the way leads out.
func (w Way) Open() bool {
	if w.Target != "" {
		return w.Reached
	}
	return len(w.Answers) > 0
}

// Registry reports whether a build can pull its base images.
type Registry struct {
	Problems map[string]string // by base
	Login    []string          // bases whose registry demands a login
}

// Need is a set of facts that a check needs beyond those that are known at once.
type Need int

// The needs.
const (
	NeedsEngine    Need = 1 << iota // the engine answers
	NeedsMachine                    // Facts.Machine
	WantsMachine                    // the same, if available; otherwise its Root is nil
	NeedsSpace                      // Facts.Space
	WantsContainer                  // Facts.Container, or Facts.NoContainer; skipped while there is no image to look from
	NeedsContainer                  // Facts.Container
	NeedsRegistry                   // Facts.Registry
	NeedsOutside                    // something beyond the engine's machine
	NeedsGitHub                     // Facts.GitHub
	NeedsImage                      // Facts.Image
	NeedsReach                      // Facts.Reach; empty while no cache runs
)

// Env is the source of facts. Facts that cost something are functions. They are called when a
// check needs them, and at most once if made by Once. A nil function means that the fact can't
// be had from here. If a function returns an error, it is the reason to skip the check.
type Env struct {
	Known     Facts
	Offline   bool // nothing beyond the engine's machine is queried
	Machine   func(context.Context) (Machine, error)
	Space     func(context.Context) (Space, error)
	Container func(context.Context) (Container, error)
	Registry  func(context.Context) (Registry, error)
	GitHub    func(context.Context) (GitHub, error)
	Image     func(context.Context) (Image, error)
	Reach     func(context.Context) (Reach, error)
}

// Once returns a function that calls ask the first time only. An answer that was cut off does
// not count, and neither does an error that describes itself as passing.
func Once[T any](ask func(context.Context) (T, error)) func(context.Context) (T, error) {
	turn := make(chan struct{}, 1)
	var known bool
	var answer T
	var err error
	return func(ctx context.Context) (T, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		if !known {
			answer, err = ask(ctx)
			known = ctx.Err() == nil && !passing(err)
		}
		return answer, err
	}
}

// passing reports whether an error describes itself as passing.
func passing(err error) bool {
	var later interface{ Passing() bool }
	return errors.As(err, &later) && later.Passing()
}

var errNobody = errors.New("not known from here")

// facts gathers the facts that a check needs. reason is set if they can't be had.
func (e Env) facts(ctx context.Context, needs Need) (facts Facts, reason string) {
	facts = e.Known
	if needs&NeedsEngine != 0 && facts.EngineErr != nil {
		return facts, "the engine does not answer"
	}
	if needs&NeedsOutside != 0 && e.Offline {
		return facts, "offline"
	}
	if needs&WantsMachine != 0 && e.Machine != nil {
		if machine, err := e.Machine(ctx); err == nil {
			facts.Machine = machine
		}
	}
	if needs&WantsContainer != 0 {
		err := ask(ctx, needs, e.Container, &facts.Container)
		if errors.Is(err, errNobody) || passing(err) {
			return facts, err.Error()
		}
		facts.NoContainer = err
	}
	for _, err := range []error{
		ask(ctx, needs&NeedsMachine, e.Machine, &facts.Machine),
		ask(ctx, needs&NeedsSpace, e.Space, &facts.Space),
		ask(ctx, needs&NeedsContainer, e.Container, &facts.Container),
		ask(ctx, needs&NeedsRegistry, e.Registry, &facts.Registry),
		ask(ctx, needs&NeedsGitHub, e.GitHub, &facts.GitHub),
		ask(ctx, needs&NeedsImage, e.Image, &facts.Image),
		ask(ctx, needs&NeedsReach, e.Reach, &facts.Reach),
	} {
		if err != nil {
			return facts, err.Error()
		}
	}
	return facts, ""
}

func ask[T any](ctx context.Context, needed Need, source func(context.Context) (T, error), into *T) (err error) {
	if needed == 0 {
		return nil
	}
	if source == nil {
		return errNobody
	}
	*into, err = source(ctx)
	return err
}
