//go:build linux

package machine

import (
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// dockerdPath sets $path to the PATH of the daemon, and $variant to the chosen variant of iptables.
const dockerdPath = `docker version >/dev/null
	path=$(sudo cat /proc/$(pgrep -P 1 -x dockerd)/environ | tr '\0' '\n' | sed -n 's/^PATH=//p')
	variant=$(basename "$(readlink /etc/alternatives/iptables)")
	`

// dockerd starts faster programs than jobs do, and they do the same.
func TestProgramsOfDockerd(t *testing.T) {
	runner, _ := onDemand(t, "docker: {start: on-demand}\n")
	for _, test := range []struct{ name, script, want string }{
		{"runc answers from files of the image's runc", `
			for question in --version features; do
				[ "$(PATH=$path runc $question)" = "$(/usr/sbin/runc $question)" ] && [ -s /usr/lib/runnerctl/answers/$question ] || exit 1
			done
			[ /usr/lib/runnerctl/answers/runc -ef /usr/sbin/runc ] && docker info --format '{{.RuncCommit.ID}}' | grep -c .`, "1\n"},
		{"another runc answers itself", `
			printf '#!/bin/sh\necho another\n' | sudo tee /usr/local/sbin/runc >/dev/null; sudo chmod 755 /usr/local/sbin/runc
			PATH=$path runc --version; sudo rm /usr/local/sbin/runc
			sudo cp -p /usr/sbin/runc /usr/sbin/runc.new; sudo mv /usr/sbin/runc.new /usr/sbin/runc
			echo echo changed | sudo tee /usr/lib/runnerctl/answers/--version >/dev/null; PATH=$path runc --version | grep -c changed`, "another\n0\n"},
		{"iptables is a static one of the same variant", `
			[ $variant = iptables-legacy ] || { echo "same rules"; exit; }
			for program in iptables ip6tables; do
				case $(PATH=$path command -v $program) in /usr/lib/runnerctl/*) ;; *) exit 1;; esac
			done
			[ "$(sudo env PATH=$path iptables -S)" = "$(sudo /usr/sbin/iptables -S)" ] && sudo iptables -S | grep -q DOCKER && echo "same rules"`, "same rules\n"},
		{"a job chooses the other variant", `
			sudo update-alternatives --quiet --set iptables /usr/sbin/iptables-nft
			sudo service docker restart >/dev/null; ` + dockerdPath + `
			[ $variant = iptables-nft ] && basename $(PATH=$path command -v iptables); PATH=$path command -v iptables | grep -c runnerctl`, "iptables\n0\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-uc", dockerdPath+test.script)
			if got != test.want {
				t.Errorf("got %q, want %q; stderr:\n%s", got, test.want, stderr)
			}
		})
	}
}
