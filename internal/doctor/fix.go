package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Remedy is the advice of a check. Commands are its fixes as lines to paste.
type Remedy struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands"`
	Fixes    []Fix    `json:"-"`
}

// Fix is one change to the engine's machine, to be made by root.
type Fix interface {
	// Commands returns lines that make the change now and permanently. They can be pasted more
	// than once.
	Commands() []string
	// script returns the same change as a command of the script that Script writes, and the
	// function that the command needs; "" for none.
	script() (call, function string)
}

// advice returns a remedy without commands.
func advice(format string, args ...any) Remedy { return Remedy{Text: fmt.Sprintf(format, args...)} }

func fix(text string, fixes ...Fix) Remedy { return Remedy{Text: text, Fixes: fixes} }

// setting is a sysctl with the value that it should have, or with AtLeast the lowest value.
type setting struct {
	Name    string
	Value   int
	AtLeast bool
}

func (s setting) Commands() []string {
	return []string{fmt.Sprintf("sysctl -w %s=%d", s.Name, s.Value), fmt.Sprintf("echo '%s = %d' >/etc/sysctl.d/60-runnerctl-%s.conf", s.Name, s.Value, s.file())}
}

func (s setting) file() string { return s.Name[strings.LastIndexByte(s.Name, '.')+1:] }

func (s setting) script() (string, string) {
	word := "-eq"
	if s.AtLeast {
		word = "-ge"
	}
	return fmt.Sprintf("setting %s %s %d %s", s.Name, word, s.Value, s.file()), ""
}

// module is a kernel module to load, at each boot too.
type module string

func (m module) Commands() []string {
	return []string{fmt.Sprintf("modprobe %s", string(m)), fmt.Sprintf("echo %s >/etc/modules-load.d/runnerctl-%[1]s.conf", string(m))}
}

func (m module) script() (string, string) { return "module " + string(m), "" }

// openTun gives /dev/net/tun the mode that udev gives it. With make it also creates the
// device, for a kernel that has tun built in on a machine without the device.
type openTun struct{ make bool }

// At boot, tmpfiles makes the device if it is missing, before it sets the mode.
const tunLine = "c /dev/net/tun 0666 root root - 10:200\nz /dev/net/tun 0666"

func (o openTun) Commands() []string {
	commands := []string{"chmod 0666 /dev/net/tun", `printf 'c /dev/net/tun 0666 root root - 10:200\nz /dev/net/tun 0666\n' >/etc/tmpfiles.d/runnerctl.conf`}
	if o.make {
		commands[0] = "[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 0666 /dev/net/tun c 10 200; }"
	}
	return commands
}

func (openTun) script() (string, string) { return "open_tun", "" }

// shell is a command that can be run again. It is skipped if the command unless succeeds.
type shell struct{ name, unless, command string } // name is that of its function in the script

func (s shell) line() string { return s.unless + " || " + s.command }

func (s shell) Commands() []string { return []string{s.line()} }

func (s shell) script() (string, string) {
	return s.name, s.name + "() {\n\t" + s.line() + "\n}\n"
}

const prelude = `#!/bin/sh
# Fixes of runnerctl doctor for %s.
# Run it as root on that machine. It can be run again: correct settings are left alone.
set -eu
[ "$(id -u)" -eq 0 ] || { echo "this script must run as root" >&2; exit 1; }
`

const trying = `failed=
try() { # COMMAND…: one fix; a failure does not stop the others
	set +e
	(set -e; "$@")
	[ $? -eq 0 ] || failed="$failed
  $*"
	set -e
}
`

const epilogue = `[ -z "$failed" ] || { echo "not fixed:$failed" >&2; exit 1; }
`

// Functions that the lines of a script call. Each is written only if it is used.
var functions = []struct{ name, text string }{
	{"keep", `keep() { # FILE LINE: write the line to the file
	[ "$(cat "$1" 2>/dev/null)" = "$2" ] && return
	mkdir -p "${1%/*}"
	echo "$2" >"$1"
}
`},
	{"setting", `setting() { # NAME -eq|-ge VALUE FILE: now, and after a reboot
	[ "$(sysctl -n "$1")" "$2" "$3" ] && return
	sysctl -qw "$1=$3"
	keep "/etc/sysctl.d/60-runnerctl-$4.conf" "$1 = $3"
}
`},
	{"module", `module() { # NAME: loaded now, and after a reboot
	[ -d "/sys/module/$1" ] || modprobe "$1"
	keep "/etc/modules-load.d/runnerctl-$1.conf" "$1"
}
`},
	{"open_tun", `open_tun() {
	[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 0666 /dev/net/tun c 10 200; }
	[ "$(stat -c %a /dev/net/tun)" = 666 ] || chmod 0666 /dev/net/tun
	keep /etc/tmpfiles.d/runnerctl.conf "` + tunLine + `"
}
`},
}

// fixes returns the fixes of the report, in order, each once.
func (r Report) fixes() (all []Fix) {
	for _, result := range r.Checks {
		if result.Status != Fail && result.Status != Warn {
			continue
		}
		for _, fix := range result.Remedy.Fixes {
			if !slices.Contains(all, fix) {
				all = append(all, fix)
			}
		}
	}
	return all
}

// Commands returns the lines of all fixes in Script.
func (r Report) Commands() (lines []string) {
	for _, fix := range r.fixes() {
		lines = append(lines, fix.Commands()...)
	}
	return lines
}

// Script writes a shell script with every fix, for root on machine. If there is no
// fix, the script does nothing.
func (r Report) Script(w io.Writer, machine string) {
	var own, calls strings.Builder
	for _, fix := range r.fixes() {
		call, function := fix.script()
		own.WriteString(function)
		calls.WriteString("try " + call + "\n")
	}
	if calls.Len() == 0 {
		fmt.Fprintf(w, prelude+"# Nothing to do.\n", machine)
		return
	}
	used := calls.String()
	var needed []string
	for _, one := range slices.Backward(functions) {
		if strings.Contains(used, "try "+one.name) || strings.Contains(used, "\t"+one.name+" ") {
			used += one.text
			needed = append(needed, one.text)
		}
	}
	slices.Reverse(needed)
	fmt.Fprintf(w, prelude, machine)
	fmt.Fprint(w, trying, strings.Join(needed, ""), own.String(), calls.String(), epilogue)
}
