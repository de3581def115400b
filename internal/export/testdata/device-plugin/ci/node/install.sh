#!/bin/sh
# Prepares this node for runners: run it as root on the node. It changes nothing else, and may run
# again.
set -eu
cd "$(dirname "$0")"
fail() {
	echo "install.sh: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "run it as root"
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) fail "no seccomp profile for $(uname -m)" ;;
esac
kernel=$(uname -r)
[ "$(printf '%s\n' 6.3 "$kernel" | sort -V | head -n 1)" = 6.3 ] || fail "kernel $kernel: pods with a user namespace need 6.3 or later"
containerd=$(containerd --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)
[ "${containerd%%.*}" -ge 2 ] || fail "containerd $containerd: pods with a user namespace need 2.0 or later"

[ -c /dev/net/tun ] || modprobe tun || fail "the kernel has no /dev/net/tun: load its module tun"
mkdir -p /etc/modules-load.d /etc/udev/rules.d
echo tun >/etc/modules-load.d/runnerctl.conf
# In a pod, the device belongs to nobody.
echo 'KERNEL=="tun", MODE="0666", OPTIONS+="static_node=net/tun"' >/etc/udev/rules.d/60-runnerctl.rules
chmod 0666 /dev/net/tun

install -D -m 0644 "seccomp-$arch.json" "${KUBELET_ROOT:-/var/lib/kubelet}/seccomp/runnerctl.json"
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
	install -D -m 0644 apparmor /etc/apparmor.d/runnerctl
	apparmor_parser --replace /etc/apparmor.d/runnerctl
fi
echo "now label the node: kubectl label node NODE dev.runnerctl/node=true"
