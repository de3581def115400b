#!/usr/bin/env bash
# Prepares a bare Debian or Ubuntu machine: a running Docker Engine from the
# distribution's packages, mmdebstrap, a usable /dev/net/tun.
# setup.sh [--yes] [--dry-run] [--tests] [--vm]; CI=true implies --yes. --tests adds
# packages for the tests, --vm packages for make test-vm. Can be run again.
set -euo pipefail

yes=${CI:-} dry='' tests='' vm=''
for arg in "$@"; do
	case "$arg" in
	--yes | -y) yes=true ;;
	--dry-run) dry=true ;;
	--tests) tests=true ;;
	--vm) vm=true ;;
	-h | --help)
		sed -n '2,5s/^# //p' "$0"
		exit 0
		;;
	*)
		echo "setup: unknown argument $arg; see --help" >&2
		exit 2
		;;
	esac
done

socket=/var/run/docker.sock
pidfile=/var/run/docker.pid
log=/var/log/runnerctl-dockerd.log
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)

say() { echo "setup: $*"; }
fail() {
	echo "setup: $*" >&2
	exit 1
}
as_root() { "${sudo[@]}" "$@"; }
has_systemd() { [ -d /run/systemd/system ]; }
answers() {
	case "${DOCKER_HOST:-}" in
	'') as_root curl -fsS --max-time 5 --unix-socket "$socket" http://docker/_ping >/dev/null 2>&1 ;;
	unix://*) curl -fsS --max-time 5 --unix-socket "${DOCKER_HOST#unix://}" http://docker/_ping >/dev/null 2>&1 ;;
	*) true ;; # a remote engine: runnerctl doctor checks it
	esac
}
tun_usable() { [ -c /dev/net/tun ] && [ "$(stat -c %a /dev/net/tun)" = 666 ]; }

# Find everything that is missing before changing anything.
packages=()
need() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] || packages+=("$2"); }
need curl curl
need mmdebstrap mmdebstrap
need iptables iptables
need ip iproute2
need mkfs.ext4 e2fsprogs
if [ -n "$tests" ]; then
	need shellcheck shellcheck
	need systemd-analyze systemd
	need zsh zsh
	need fish fish
	need groff groff-base
	need gh gh
	need npm npm
	need sshd openssh-server
	need crun crun
fi
if [ -n "$vm" ]; then
	need qemu-system-x86_64 qemu-system-x86
	need ssh openssh-client
	need debugfs e2fsprogs
fi
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
running=
if answers; then running=true; else need dockerd docker.io; fi

steps=()
[ ${#packages[@]} -eq 0 ] || steps+=("install ${packages[*]}")
[ -n "$running" ] || steps+=("start the Docker Engine")
tun_usable || steps+=("make /dev/net/tun usable (mode 0666)")
user=$(id -un)
joins=
if [ "$(id -u)" -ne 0 ] && [ -z "${DOCKER_HOST:-}" ] && ! id -nG "$user" | grep -qw docker; then
	joins=true
	steps+=("add $user to the group docker (its members are root on this machine)")
fi
if [ ${#steps[@]} -eq 0 ]; then
	say "nothing to do"
	exit 0
fi
for step in "${steps[@]}"; do say "will $step"; done
[ -z "$dry" ] || exit 0
if [ "$yes" != true ]; then
	[ -t 0 ] || fail "this changes the machine: run scripts/host/setup.sh --yes"
	read -rp "setup: continue? [y/N] " answer
	case "$answer" in [yY]*) ;; *) fail "nothing changed" ;; esac
fi

command -v apt-get >/dev/null || fail "apt-get not found: install ${packages[*]} by hand"
if [ ${#packages[@]} -gt 0 ]; then
	say "installing ${packages[*]}"
	as_root apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

start_engine() {
	if has_systemd; then
		say "starting docker by systemd"
		as_root systemctl enable --now docker
		return
	fi
	if [ -s "$pidfile" ] && ! as_root kill -0 "$(cat "$pidfile")" 2>/dev/null; then
		say "removing the stale $pidfile"
		as_root rm -f "$pidfile"
	fi
	# A bridge with a larger MTU than the uplink stalls large packets.
	local uplink mtu args=()
	uplink=$(ip -4 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
	mtu=$(cat "/sys/class/net/$uplink/mtu" 2>/dev/null || echo 1500)
	[ "$mtu" -ge 1500 ] || args=(--mtu "$mtu")
	say "starting dockerd in the background (pid file $pidfile, log $log)"
	as_root sh -c 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null &' sh "$log" dockerd --pidfile "$pidfile" "${args[@]}"
}
if ! answers; then
	start_engine
	for _ in $(seq 120); do
		answers && break
		sleep 0.5
	done
	answers || {
		as_root tail -n 20 "$log" >&2 || true
		fail "the Docker Engine did not answer within 60 s"
	}
	say "the Docker Engine answers"
fi

if ! tun_usable; then
	say "making /dev/net/tun usable"
	[ -c /dev/net/tun ] || as_root modprobe tun 2>/dev/null || true
	if ! [ -c /dev/net/tun ]; then
		as_root mkdir -p /dev/net
		as_root mknod /dev/net/tun c 10 200
	fi
	as_root chmod 0666 /dev/net/tun
fi
if [ -n "$joins" ]; then
	say "adding $user to the group docker"
	as_root usermod -aG docker "$user"
fi
say "done"
