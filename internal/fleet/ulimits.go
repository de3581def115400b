package fleet

// Ulimit is a resource limit of every process in a runner (getrlimit(2)).
type Ulimit struct {
	Name       string // as in docker run --ulimit
	Soft, Hard int64
}

// Unlimited is the value that means no limit.
const Unlimited = -1

// wantedUlimits are the limits that jobs find on GitHub's machines, and that their containers
// may raise with --ulimit. Resources without a limit here are still bound by the runner's
// memory and pids limits. All are listed, because otherwise an engine's "default-ulimits"
// would lower them. nice, rtprio and rttime are not, because they are up to the host.
var wantedUlimits = []Ulimit{
	{"core", 0, Unlimited},
	{"cpu", Unlimited, Unlimited},
	{"data", Unlimited, Unlimited},
	{"fsize", Unlimited, Unlimited},
	{"locks", Unlimited, Unlimited},
	{"memlock", Unlimited, Unlimited},
	{"msgqueue", Unlimited, Unlimited},
	{"nofile", 65536, 1048576},
	{"nproc", Unlimited, Unlimited},
	{"rss", Unlimited, Unlimited},
	{"sigpending", Unlimited, Unlimited},
	{"stack", 8 << 20, Unlimited},
}

// Ulimits returns the limits that an engine can give a runner. hard holds the engine's own
// limits by name: it can't give more, unless raises is set. If neither is known, no limit is
// requested. openFiles is the kernel's limit for any process; 0 means unknown.
func Ulimits(raises bool, hard map[string]int64, openFiles int64) (all []Ulimit) {
	for _, one := range wantedUlimits {
		most, known := hard[one.Name]
		if raises {
			most, known = Unlimited, true
		}
		if !known {
			continue
		}
		if one.Name == "nofile" && openFiles > 0 {
			most = lower(most, openFiles)
		}
		all = append(all, Ulimit{one.Name, lower(one.Soft, most), lower(one.Hard, most)})
	}
	return all
}

func lower(a, b int64) int64 {
	if a == Unlimited || b != Unlimited && b < a {
		return b
	}
	return a
}
