package fleet

// Ulimit is a limit of every process of a runner (getrlimit(2)).
type Ulimit struct {
	Name       string // as docker run --ulimit has it
	Soft, Hard int64
}

// Unlimited is the value of a limit that is none.
const Unlimited = -1

// wantedUlimits are what jobs find on GitHub's machines, and what their containers may
// raise by --ulimit. What is not limited here stays within the runner's memory and pids.
// All are named, since an engine's "default-ulimits" would lower them else; nice, rtprio
// and rttime are not, since they are the host's business.
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

// Ulimits are those that an engine can give a runner. hard are the engine's own limits,
// by name: it can't give more, unless it may raise them. An engine of which neither is
// known is asked for nothing. openFiles is what the kernel allows to anybody; 0: unknown.
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
