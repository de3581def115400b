#!/bin/sh
# policy-rc.d [OPTIONS] SERVICE ACTIONS [RUNLEVEL]: invoke-rc.d calls it to check whether a
# package may start its service: 0 yes, 101 no. In a running machine, packages start their
# services, as on GitHub's machines; during the build of an image, nothing starts. Docker's
# daemons belong to the machine, and the other services would change the host's kernel.
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
