#!/bin/sh
# policy-rc.d [OPTIONS] SERVICE ACTIONS [RUNLEVEL]: invoke-rc.d asks it whether a package
# may start its service: 0 yes, 101 no. In a running machine packages start their
# services, as on GitHub's; while an image is built nothing starts. Docker's daemons are
# the machine's own, and the others touch a kernel that is the host's.
while :; do
	case "${1:-}" in
	--*) shift ;;
	*) break ;;
	esac
done
[ -d /run/runnerctl ] || exit 101
case "${1:-}" in
docker | containerd | udev | kmod | procps) exit 101 ;;
esac
exit 0
