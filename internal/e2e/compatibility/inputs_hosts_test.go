//go:build linux

package compatibility

import (
	"strings"
)

// hostInputs are properties of hosts, and requirements of jobs on a host's kernel.
var hostInputs = []input{
	{
		ID: "personality", Group: "System calls", Input: "setarch -R true, in privileged containers too", Result: outcomePasses,
		Script: `
setarch "$(uname -m)" -R true
setarch "$(uname -m)" --addr-no-randomize --uname-2.6 true
# With the machine's own files: Docker's profile refuses it to other containers, here as there.
made=$(mktemp -d)
cp --parents /usr/bin/setarch /usr/bin/true $(ldd /usr/bin/setarch /usr/bin/true | grep -o '/[^ ]*[^: ]' | sort -u) "$made"
tar -c -C "$made" . | docker import - setarch >/dev/null
docker run --rm --privileged setarch /usr/bin/setarch "$(uname -m)" -R /usr/bin/true
`,
	},
	{
		ID: "numa", Group: "System calls", Input: "numactl --membind=0 true", Result: outcomePasses,
		Script: `
sudo apt-get update -qq && sudo apt-get install -y -qq numactl >/dev/null
numactl --membind=0 true
numactl --interleave=all true
expect "policy: default" numactl --show
`,
	},
	{
		ID: "debuggers", Group: "System calls", Input: "strace -f true; gdb -batch -ex run true", Result: outcomePasses, Long: true,
		Script: `
sudo apt-get update -qq && sudo apt-get install -y -qq strace gdb >/dev/null
expect "exited with 0" strace -f true
expect "exited normally" gdb -batch -ex run "$(command -v true)"
`,
	},
	{
		ID: "io-uring", Group: "System calls", Input: "fio --ioengine=io_uring", Result: outcomeRefused, Long: true,
		Note: "closed, and answered as by a kernel without io_uring, so that programs use the older calls; runners.syscalls: [io_uring] opens it",
		Script: `
sudo apt-get update -qq && sudo apt-get install -y -qq fio >/dev/null
fio_by() { fio --name=x --filename=/tmp/fio --size=1M --rw=randread --runtime=1 --ioengine="$1"; }
fio_by libaio >/dev/null
! answer=$(fio_by io_uring 2>&1)
[[ $answer == *"not implemented"* || $answer == *"errno=38"* || $answer == *"not supported"* ]] || { echo "$answer" >&2; exit 1; }
`,
	},
	{
		ID: "keys", Group: "System calls", Input: "keyctl add user a b @u", Result: outcomeRefused,
		Note: "all runners of a host share one quota of 200 keys; answered as by a kernel without keys",
		Script: `
sudo apt-get update -qq && sudo apt-get install -y -qq keyutils >/dev/null
! answer=$(keyctl add user a b @u 2>&1)
[[ $answer == *"not implemented"* ]] || { echo "$answer" >&2; exit 1; }
`,
	},
	{
		ID: "perf", Group: "System calls", Input: "perf stat true", Result: outcomeRefused,
		Note: "closed; runners.syscalls: [perf] opens it, as far as the host's kernel.perf_event_paranoid allows",
		Test: "TestOpenedOnRequest",
	},
	{
		ID: "devices", Group: "System calls", Input: "/dev/fuse, /dev/kvm in a job", Result: outcomeOfHost,
		Note: "runners.devices gives them to jobs, if their mode on the host is 0666", Test: "TestOpenedOnRequest",
	},
	{
		ID: "ulimits", Group: "Limits", Input: "docker run --ulimit memlock=-1:-1 --ulimit nofile=1048576, compose's ulimits", Result: outcomeOfHost,
		Note: "as high as the engine can set them; doctor's engine.limits shows the maximum", Test: "TestUlimits",
	},
	{
		ID: "ports", Group: "Limits", Input: "docker run -p 20000-20299:20000-20299/udp", Result: outcomePasses, Long: true, Fresh: true,
		Note: "each port uses two processes of eight threads: runners.pids is 32768",
		Script: `
busybox_image
docker run -d --name ports -p 20000-20299:20000-20299/udp bb sleep 600 >/dev/null
expect running docker inspect -f '{{.State.Status}}' ports
docker rm -f ports >/dev/null
docker info >/dev/null
`,
	},
	{
		ID: "maps", Group: "Limits", Input: "sysctl -w vm.max_map_count=262144", Result: outcomeOfHost,
		Note: "doctor's kernel.maps and host prepare set it on the host", Test: "TestPrepareScript",
	},
}

// hostKey is an engine with this daemon.json, and the expected outcome.
type hostKey struct {
	id, config string // GATEWAY in it stands for the address of the engine's way out
	shell      string // run before the engine's first runner, in its namespaces
	red        string // the check that fails, as does up; "": runners work
	cure       string // text in both reports
	warns      string // a check that warns
	script     string // run in a runner, in addition to the script for all
	note       string
}

// hostKeys are settings that people make in the daemon.json of a host.
var hostKeys = []hostKey{
	{id: "defaults"},
	{id: "no-new-privileges", config: `"no-new-privileges": true`, script: `grep -q 'NoNewPrivs:.0' /proc/self/status`},
	{id: "ulimits", config: `"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 1024}, "nproc": {"Name": "nproc", "Soft": 200, "Hard": 200}}`, script: `
[ "$(ulimit -n)" -ge 20000 ] || [ "$(ulimit -n)" = unlimited ]
[ "$(ulimit -u)" = unlimited ] || [ "$(ulimit -u)" -gt 1000 ]
`},
	{id: "dead-dns", config: `"dns": ["192.0.2.1", "GATEWAY"]`, warns: "network.dns", note: "each name takes some seconds; doctor's network.dns names the server"},
	{id: "ipv6-dns", config: `"dns": ["2001:db8::53"]`, red: "network.dns", cure: `"dns"`},
	{id: "live-restore", config: `"live-restore": true`},
	{id: "no-bridge", config: `"bridge": "none"`, red: "network.egress", cure: `"bridge": "none"`},
	{id: "no-iptables", config: `"iptables": false`, red: "network.egress", cure: `"iptables": false`},
	{id: "no-masquerade", config: `"ip-masq": false`, red: "network.egress", cure: `"ip-masq": false`},
	{id: "bip-of-slirp", config: `"bip": "10.0.2.1/24"`},
	{id: "bip-of-pool", config: `"bip": "10.213.0.1/24"`},
	{id: "pools", config: `"default-address-pools": [{"base": "10.213.0.0/16", "size": 24}]`},
	{id: "icc", config: `"icc": false`, warns: "network.icc", note: "doctor's network.icc explains the effect on jobs"},
	{id: "init", config: `"init": true`},
	{id: "crun", config: `"default-runtime": "crun", "runtimes": {"crun": {"path": "/usr/bin/crun"}}`, note: "if crun can't start containers (both versions of control groups mounted), doctor's engine.containers and up report it"},
	{id: "userland-proxy", config: `"userland-proxy": false`},
	{id: "ipv6", config: `"ipv6": true, "fixed-cidr-v6": "fd00:213::/80"`},
	{id: "mtu", config: `"mtu": 1280`},
	{id: "log-none", config: `"log-driver": "none"`},
	{id: "log-local", config: `"log-driver": "local"`},
	{id: "log-syslog", config: `"log-driver": "syslog", "log-opts": {"syslog-address": "udp://192.0.2.1:514"}`},
	{id: "shm-size", config: `"default-shm-size": "16M"`},
	{id: "cgroup-parent", config: `"cgroup-parent": "/runners"`},
	{id: "cgroupns-host", config: `"default-cgroupns-mode": "host"`},
	{id: "cgroupns-private", config: `"default-cgroupns-mode": "private"`},
	{id: "ipc-shareable", config: `"default-ipc-mode": "shareable"`},
	{id: "shutdown-timeout", config: `"shutdown-timeout": 5`},
	{id: "forwarding", config: `"ip-forward": false`, shell: "sysctl -qw net.ipv4.ip_forward=0", red: "network.egress", cure: "net.ipv4.ip_forward"},
}

// hostKeyInputs returns the lines of the page for hostKeys.
func hostKeyInputs() (all []input) {
	for _, key := range hostKeys {
		one := input{ID: "key-" + key.id, Group: "An engine's daemon.json", Input: "{" + strings.ReplaceAll(key.config, "GATEWAY", "192.0.2.53") + "}", Result: outcomePasses, Note: key.note, Test: "TestHostKeys"}
		if key.red != "" {
			one.Result, one.Note = outcomeOfHost, "doctor's "+key.red+" and up name it before anything is made"
		}
		all = append(all, one)
	}
	return all
}
