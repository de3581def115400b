#!/bin/sh
# Fixes of runnerctl doctor for this machine.
# Run it as root on that machine. It can be run again: correct settings are left alone.
set -eu
[ "$(id -u)" -eq 0 ] || { echo "this script must run as root" >&2; exit 1; }
failed=
try() { # COMMAND…: one fix; a failure does not stop the others
	set +e
	(set -e; "$@")
	[ $? -eq 0 ] || failed="$failed
  $*"
	set -e
}
keep() { # FILE LINE: write the line to the file
	[ "$(cat "$1" 2>/dev/null)" = "$2" ] && return
	mkdir -p "${1%/*}"
	echo "$2" >"$1"
}
setting() { # NAME -eq|-ge VALUE FILE: now, and after a reboot
	[ "$(sysctl -n "$1")" "$2" "$3" ] && return
	sysctl -qw "$1=$3"
	keep "/etc/sysctl.d/60-runnerctl-$4.conf" "$1 = $3"
}
module() { # NAME: loaded now, and after a reboot
	[ -d "/sys/module/$1" ] || modprobe "$1"
	keep "/etc/modules-load.d/runnerctl-$1.conf" "$1"
}
open_tun() {
	[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 0666 /dev/net/tun c 10 200; }
	[ "$(stat -c %a /dev/net/tun)" = 666 ] || chmod 0666 /dev/net/tun
	keep /etc/tmpfiles.d/runnerctl.conf "c /dev/net/tun 0666 root root - 10:200
z /dev/net/tun 0666"
}
block_metadata() {
	iptables -C DOCKER-USER -d 169.254.169.254 -j REJECT 2>/dev/null || iptables -I DOCKER-USER -d 169.254.169.254 -j REJECT
}
try module overlay
try module nf_tables
try module nft_compat
try module nf_conntrack
try module xt_addrtype
try module xt_MASQUERADE
try setting user.max_user_namespaces -ge 28633 max_user_namespaces
try setting kernel.apparmor_restrict_unprivileged_userns -eq 0 apparmor_restrict_unprivileged_userns
try open_tun
try block_metadata
[ -z "$failed" ] || { echo "not fixed:$failed" >&2; exit 1; }
