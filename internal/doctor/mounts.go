package doctor

import (
	"io/fs"
	"slices"
	"strings"
)

// mount is one line of a mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	point, kind string
	peers       []string // like "shared:1"
}

// propagation returns the mount's propagation in mount(8)'s words.
func (m mount) propagation() string {
	words := map[string]string{"shared": "shared", "master": "slave", "unbindable": "unbindable"}
	var all []string
	for _, peer := range m.peers {
		name, _, _ := strings.Cut(peer, ":")
		if word := words[name]; word != "" {
			all = append(all, word)
		}
	}
	if len(all) == 0 {
		return "private"
	}
	return strings.Join(all, " and ")
}

// mountOf finds the mount that a path lies on: the deepest one on the path, and the last of
// several at one place. (moby/sys/mountinfo reads mountinfo on Linux only; the engine's client
// may be a Mac.)
func mountOf(mountinfo, path string) (found mount, ok bool) {
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+2 {
			continue
		}
		one := mount{point: fields[4], peers: fields[6:dash], kind: fields[dash+1]}
		below := one.point == "/" || path == one.point || strings.HasPrefix(path, one.point+"/")
		if below && len(one.point) >= len(found.point) {
			found, ok = one, true
		}
	}
	return found, ok
}

// mounts returns the mountinfo of the machine. It is "" if it can't be read, as for other
// users' processes.
func (m Machine) mounts() string {
	if m.Root == nil {
		return ""
	}
	text, err := fs.ReadFile(m.Root, m.Process+"/mountinfo")
	if err != nil {
		return ""
	}
	return string(text)
}
