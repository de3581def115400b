package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Remedy is what to do; Commands are its fixes as lines to paste.
type Remedy struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands"`
	Fixes    []Fix    `json:"-"`
}

// Fix is one change of the engine's machine, for root.
type Fix interface {
	// Commands mend it now and for good; they can be pasted more than once.
	Commands() []string
	// script is the same as one line of the script that Script writes.
	script() string
}

// advice is a remedy of words alone.
func advice(format string, args ...any) Remedy { return Remedy{Text: fmt.Sprintf(format, args...)} }

func fix(text string, fixes ...Fix) Remedy { return Remedy{Text: text, Fixes: fixes} }

// setting is a sysctl and the value it should have, or with AtLeast exceed.
type setting struct {
	Name    string
	Value   int
	AtLeast bool
}

func (s setting) Commands() []string {
	return []string{fmt.Sprintf("sysctl -w %s=%d", s.Name, s.Value), fmt.Sprintf("echo '%s = %d' >/etc/sysctl.d/60-runnerctl-%s.conf", s.Name, s.Value, s.file())}
}

func (s setting) file() string { return s.Name[strings.LastIndexByte(s.Name, '.')+1:] }

func (s setting) script() string {
	word := "-eq"
	if s.AtLeast {
		word = "-ge"
	}
	return fmt.Sprintf("setting %s %s %d %s", s.Name, word, s.Value, s.file())
}

// module is a part of the kernel that is to be loaded, at each boot too.
type module string

func (m module) Commands() []string {
	return []string{fmt.Sprintf("modprobe %s", string(m)), fmt.Sprintf("echo %s >/etc/modules-load.d/runnerctl-%[1]s.conf", string(m))}
}

func (m module) script() string { return "module " + string(m) }

// openTun gives /dev/net/tun the mode that udev gives it.
type openTun struct{}

func (openTun) Commands() []string {
	return []string{"chmod 0666 /dev/net/tun", "echo 'z /dev/net/tun 0666' >/etc/tmpfiles.d/runnerctl.conf"}
}

func (openTun) script() string { return "open_tun" }

// shell is a command that can be run again; unless tells that it need not be.
type shell struct{ unless, command string }

func (s shell) Commands() []string { return []string{s.command} }

func (s shell) script() string {
	if s.unless == "" {
		return s.command
	}
	return s.unless + " || " + s.command
}

const prelude = `#!/bin/sh
# What runnerctl doctor would mend on %s.
# For root there; can be run again: what is right already is left alone.
set -eu
[ "$(id -u)" -eq 0 ] || { echo "this needs root" >&2; exit 1; }
`

// What the lines of a script call, each written only where it is used.
var functions = []struct{ name, text string }{
	{"keep", `keep() { # FILE LINE: the file holds that line
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
	[ "$(stat -c %a /dev/net/tun)" = 666 ] || chmod 0666 /dev/net/tun
	keep /etc/tmpfiles.d/runnerctl.conf "z /dev/net/tun 0666"
}
`},
}

// fixes are what the report would mend, in order, each once.
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

// Script writes a shell script of every fix, for root on machine; nothing but a
// comment where there is nothing to mend by a command.
func (r Report) Script(w io.Writer, machine string) {
	var body strings.Builder
	for _, fix := range r.fixes() {
		body.WriteString(fix.script() + "\n")
	}
	fmt.Fprintf(w, prelude, machine)
	used := body.String()
	var needed []string
	for _, one := range slices.Backward(functions) {
		if strings.Contains("\n"+used, "\n"+one.name) || strings.Contains(used, "\t"+one.name+" ") {
			used += one.text
			needed = append(needed, one.text)
		}
	}
	slices.Reverse(needed)
	fmt.Fprint(w, strings.Join(needed, "")+body.String())
	if body.Len() == 0 {
		fmt.Fprintln(w, "# Nothing to do.")
	}
}
