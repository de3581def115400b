//go:build linux

// Package user finds the machine's users and the environment of their processes. It reads the
// machine's files only as data, so that it also works in a machine that a job has broken. It
// imports only the reading of files.
package user

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/internal/machine/regular"
)

// Runner is the uid and the gid of the user of jobs.
const Runner = 1001

// Certificates holds certificates from runnerctl. Node, which runs actions, has a list of its
// own.
const Certificates = "/usr/local/share/ca-certificates/runnerctl.crt"

// User is a user of the machine.
type User struct {
	UID    uint32
	Name   string // "" if /etc/passwd has none
	Home   string // "/" likewise
	Groups []uint32
}

// Find returns a user of the machine whose files are under root.
func Find(root string, uid uint32) User {
	found := User{UID: uid, Home: "/", Groups: []uint32{uid}}
	number := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(read(filepath.Join(root, "etc/passwd"))) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(fields) >= 6 && fields[2] == number {
			found.Name, found.Home = fields[0], fields[5]
			break
		}
	}
	if found.Name == "" || uid == 0 {
		return found
	}
	for line := range strings.Lines(read(filepath.Join(root, "etc/group"))) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(fields) < 4 || !slices.Contains(strings.Split(fields[3], ","), found.Name) {
			continue
		}
		if gid, err := strconv.ParseUint(fields[2], 10, 32); err == nil {
			found.Groups = append(found.Groups, uint32(gid))
		}
	}
	return found
}

// Group returns the gid of a group of the machine, or 0 if there is none.
func Group(root, name string) int {
	for line := range strings.Lines(read(filepath.Join(root, "etc/group"))) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(fields) >= 4 && fields[0] == name {
			gid, _ := strconv.Atoi(fields[2])
			return gid
		}
	}
	return 0
}

// read returns a file's text, or "" if there is none.
func read(path string) string {
	text, err := regular.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

var assignment = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)=(.*)$`)

// own are variables of the container that no process of a user gets.
func own(name string) bool {
	return name == "HOSTNAME" || name == "XDG_RUNTIME_DIR" || name == "LISTEN_FDS" || strings.HasPrefix(name, "RUNNERCTL_")
}

// Environment returns the environment of a user's process, the same for jobs and for commands
// from outside: /etc/environment, which applies to every user as on GitHub's own machines,
// overridden by runners.env of the settings. Base has the variables of the container, like a proxy.
func Environment(root string, user User, base, settings []string) []string {
	values := map[string]string{}
	var names []string
	set := func(name, value string) {
		if _, known := values[name]; !known {
			names = append(names, name)
		}
		values[name] = value
	}
	for _, pair := range base {
		if name, value, ok := strings.Cut(pair, "="); ok && !own(name) {
			set(name, value)
		}
	}
	name := user.Name
	if name == "" {
		name = strconv.FormatUint(uint64(user.UID), 10)
	}
	set("HOME", user.Home)
	set("USER", name)
	set("LOGNAME", name)
	set("SHELL", "/bin/bash")
	set("PATH", user.Home+"/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	assign := func(line string) {
		if found := assignment.FindStringSubmatch(line); found != nil {
			set(found[1], found[2])
		}
	}
	for line := range strings.Lines(read(filepath.Join(root, "etc/environment"))) {
		assign(strings.ReplaceAll(unquote(strings.TrimRight(line, "\n")), "$HOME", user.Home))
	}
	if _, err := os.Lstat(filepath.Join(root, Certificates)); err == nil {
		set("NODE_EXTRA_CA_CERTS", Certificates)
	}
	for _, line := range settings {
		assign(line)
	}
	env := make([]string, len(names))
	for i, name := range names {
		env[i] = name + "=" + values[name]
	}
	return env
}

// unquote removes quotes around a value.
func unquote(line string) string {
	name, value, _ := strings.Cut(line, "=")
	if len(value) >= 2 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
		return name + "=" + value[1:len(value)-1]
	}
	return line
}
