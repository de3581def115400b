#!/bin/sh
# What runnerctl doctor would mend on this machine.
# For root there; can be run again: what is right already is left alone.
set -eu
[ "$(id -u)" -eq 0 ] || { echo "this needs root" >&2; exit 1; }
keep() { # FILE LINE: the file holds that line
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
	[ "$(stat -c %a /dev/net/tun)" = 666 ] || chmod 0666 /dev/net/tun
	keep /etc/tmpfiles.d/runnerctl.conf "z /dev/net/tun 0666"
}
module overlay
module nf_tables
module nft_compat
module nf_conntrack
module xt_addrtype
module xt_MASQUERADE
setting user.max_user_namespaces -ge 28633 max_user_namespaces
setting kernel.apparmor_restrict_unprivileged_userns -eq 0 apparmor_restrict_unprivileged_userns
open_tun
iptables -C DOCKER-USER -d 169.254.169.254 -j REJECT 2>/dev/null || iptables -I DOCKER-USER -d 169.254.169.254 -j REJECT
