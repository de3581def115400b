//go:build linux

package compatibility

// machineInputs are changes that jobs make to the daemon and the kernel's side of their
// machine.
var machineInputs = []input{
	{
		ID: "daemon-json", Group: "The daemon", Input: `{"log-driver": "local", "mtu": 1400, …} in daemon.json, service docker restart`, Result: outcomePasses,
		Note: "mtu, bip, default-address-pools, default-network-opts, log-driver, log-opts, log-level, hosts, group and bridge are allowed", Fresh: true, Long: true,
		Script: restartDockerd + `
for settings in '{"log-driver": "local"}' '{"mtu": 1400}' '{"bip": "10.77.0.1/24"}' '{"default-address-pools": [{"base": "10.78.0.0/16", "size": 24}]}' \
	'{"log-opts": {"max-size": "1m"}}' '{"log-level": "info", "features": {"buildkit": true}}' '{"hosts": ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"]}' \
	'{"bridge": "none"}' '{"default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1400"}}}' '{}' ''; do
	echo "$settings" | sudo tee /etc/docker/daemon.json >/dev/null
	restart_dockerd || { echo "not with $settings" >&2; exit 1; }
	case "$settings" in
	*local*) expect local docker info --format '{{.LoggingDriver}}' ;;
	*10.77*) expect 10.77.0.1 ip -4 addr show docker0 ;;
	*2375*) expect OK curl -fsS http://127.0.0.1:2375/_ping ;;
	esac
done`,
	},
	{
		ID: "daemon-json-broken", Group: "The daemon", Input: `{"no-such-key": 1} or {broken in daemon.json, service docker restart`, Result: outcomePasses, Long: true, Fresh: true,
		Note: "dockerd does not start, and is retried every 2 seconds until the file changes; the log reports it once",
		Script: restartDockerd + `
for settings in '{"no-such-key": 1}' '{broken' '{"log-driver": 7}' '{"storage-driver": "no-such"}'; do
	echo "$settings" | sudo tee /etc/docker/daemon.json >/dev/null
	sudo pkill -x dockerd
	sleep 7 # six deaths and more
	! docker version >/dev/null 2>&1
	sudo rm /etc/docker/daemon.json
	answers 8
done
docker network create again >/dev/null`,
	},
	{
		ID: "data-root", Group: "The daemon", Input: `{"data-root": "/mnt/docker"} in daemon.json`, Result: outcomePasses, Long: true, Fresh: true,
		Note: "the runner's volume is mounted there, so images stay, and with them the storage driver overlay2",
		Script: restartDockerd + `busybox_image
echo '{"data-root": "/mnt/docker data"}' | sudo tee /etc/docker/daemon.json >/dev/null
restart_dockerd
expect "/mnt/docker data overlay2" docker info --format '{{.DockerRootDir}} {{.Driver}}'
expect hello docker run --rm bb echo hello`,
	},
	{
		ID: "restarts", Group: "The daemon", Input: "sudo pkill dockerd, ten times", Result: outcomePasses, Long: true, Fresh: true,
		Script: restartDockerd + `for i in $(seq 10); do restart_dockerd; done`,
	},
	{
		ID: "second-dockerd", Group: "The daemon", Input: "sudo dockerd &", Result: outcomePasses, Long: true, Note: "it detects the running daemon and exits; the machine's own daemon is untouched", Fresh: true,
		Script: restartDockerd + `busybox_image; docker run -d --name stays bb sleep 1000 >/dev/null
! sudo timeout 20 dockerd >second.log 2>&1
grep -q 'process with PID .* still running\|is still running' second.log
answers 5; expect true docker inspect -f '{{.State.Running}}' stays
sudo timeout 5 dockerd --pidfile /run/other.pid --data-root /tmp/other --exec-root /tmp/exec >third.log 2>&1 || true
answers 8; expect true docker inspect -f '{{.State.Running}}' stays`,
	},
	{
		ID: "socket-removed", Group: "The daemon", Input: "sudo rm /run/docker.sock", Result: outcomePasses, Long: true, Note: "it is restored within 2 seconds", Fresh: true,
		Script: restartDockerd + `for change in 'rm /run/docker.sock' 'mv /run/docker.sock /run/other' 'ln -sfn /nowhere /run/docker.sock' 'rm /run/docker.sock'; do sudo $change; answers 5; done
[[ $(sudo stat -c %a:%U:%G /run/docker.sock) =~ ^1?660:root:docker$ ]] # sticky from Docker 28 on`,
	},
	{
		ID: "slirp-network", Group: "Networks", Input: "docker network create --subnet 10.0.2.0/24 n", Result: outcomePasses,
		Script: `docker network create --subnet 10.0.2.0/24 n >/dev/null; sudo apt-get update -qq; docker network rm n >/dev/null`,
	},
	{
		ID: "ipv6-network", Group: "Networks", Input: "docker network create --ipv6 n", Result: outcomePasses,
		Script: `busybox_image; docker network create --ipv6 n >/dev/null; docker network create --ipv6 n2 >/dev/null
docker run -d --rm --name six --network n bb sleep 1000 >/dev/null
expect "0% packet loss" docker run --rm --network n bb ping -6 -c 1 six; docker rm -f six >/dev/null; docker network rm n n2 >/dev/null`,
	},
	{
		ID: "ipv6-loopback", Group: "Networks", Input: "curl http://[::1]:PORT", Result: outcomePasses,
		Script: `expect "0% packet loss" ping -6 -c 1 ::1; expect ::1 getent ahosts ip6-localhost; busybox_image
docker run -d --rm --name web6 -p 18080:80 bb sh -c 'echo six >/index.html; httpd -f -p 80 -h /' >/dev/null; sleep 1; expect six curl -fsS 'http://[::1]:18080/index.html'; docker rm -f web6 >/dev/null`,
	},
	{
		ID: "netns", Group: "Kernel", Input: "sudo ip netns exec n1 ip a", Result: outcomePasses,
		Script: `sudo ip netns add n1; expect lo sudo ip netns exec n1 ip a; expect lo sudo ip netns exec n1 ls /sys/class/net; sudo ip netns del n1`,
	},
	{
		ID: "propagation", Group: "Kernel", Input: "docker run -v /:/host:ro,rslave", Result: outcomePasses,
		Script: `busybox_image; docker run --rm -v /:/host:ro,rslave bb ls /host/etc >/dev/null; mkdir -p "$HOME/shared"; docker run --rm -v /:/host:rshared bb true
sudo mount -t tmpfs tmpfs "$HOME/shared"; docker run --rm -v "$HOME/shared:/s:rshared" --privileged bb sh -c 'mkdir /s/m && mount -t tmpfs tmpfs /s/m && echo x >/s/m/file'; expect file ls "$HOME/shared/m"; sudo umount -R "$HOME/shared"`,
	},
	{
		ID: "binfmt", Group: "Kernel", Input: "docker build --platform linux/arm64 . (qemu-user-static)", Result: outcomePasses, Long: true, Note: "on Linux 6.7 and newer, which have binary formats for each user namespace", Fresh: true,
		Script: `sudo apt-get update -qq; sudo apt-get install -y -qq qemu-user-static binfmt-support >/dev/null
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || { grep -h . /usr/lib/binfmt.d/qemu-aarch64.conf | sudo tee /proc/sys/fs/binfmt_misc/register >/dev/null; }
sudo dpkg --add-architecture arm64; sudo apt-get update -qq; mkdir arm; cd arm; apt-get download -qq busybox-static:arm64; dpkg-deb -x busybox-static_*.deb .
printf 'FROM scratch\nCOPY bin/busybox /bin/busybox\nCOPY bin/busybox /bin/sh\nRUN busybox uname -m >/machine\nCMD ["/bin/busybox","uname","-m"]\n' >Dockerfile
ls bin/busybox >/dev/null 2>&1 || cp -r usr/bin bin
docker build -q --platform linux/arm64 -t arm . >/dev/null; expect aarch64 docker run --rm --platform linux/arm64 arm; expect aarch64 docker run --rm arm busybox cat /machine`,
	},
	{
		ID: "shm", Group: "Limits", Input: "a full /dev/shm", Result: outcomePasses, Note: "at most half of the runner's memory (/run: an eighth)",
		Script: restartDockerd + `[ "$(df -k --output=size /dev/shm | tail -n 1)" -le $((2 * 1024 * 1024)) ]; [ "$(df -k --output=size /run | tail -n 1)" -le $((512 * 1024)) ]
! head -c 8G /dev/zero >/dev/shm/full 2>/dev/null; answers 5; rm /dev/shm/full`,
	},
	{
		ID: "oom-score", Group: "Limits", Input: "cat /proc/self/oom_score_adj, in a job and in a container", Result: outcomePasses, Note: "500 in both, 0 in the daemons: the daemons survive if memory is full",
		Script: `busybox_image; [ "$(cat /proc/self/oom_score_adj) $(docker run --rm bb cat /proc/self/oom_score_adj) $(docker run --rm --oom-score-adj 700 bb cat /proc/self/oom_score_adj)" = "500 500 700" ]
[ "$(cat "/proc/$(pgrep -o -x dockerd)/oom_score_adj")" = 0 ]`,
	},
	{
		ID: "memory-hogs", Group: "Limits", Input: "40 processes that take 200 MB each", Result: outcomePasses, Long: true, Note: "the job's processes are killed, not the daemons", Fresh: true,
		Script: restartDockerd + `before=$(pgrep -x dockerd; pgrep -x containerd)
for i in $(seq 40); do perl -e '$x = "x" x (200 << 20); sleep 20' 2>/dev/null & done; sleep 12; answers 20
[ "$before" = "$(pgrep -x dockerd; pgrep -x containerd)" ]`,
	},
	{
		ID: "hostname", Group: "Kernel", Input: "hostname NAME", Result: outcomePasses,
		Script: `sudo hostname another; [ "$(hostname)" = another ]`, Fresh: true,
	},
}

// brokenInputs are jobs that break their machine.
var brokenInputs = []input{
	{ID: "break-tools", Group: "Jobs that break their machine", Input: "apt-get remove jq curl · rm -r /usr/lib/runnerctl · mv /bin/sh", Result: outcomePasses, Note: "ps, status and exec run no program of the machine", Test: "TestBrokenMachines"},
	{ID: "break-socket", Group: "Jobs that break their machine", Input: "umount -l /run · rm of the socket and of its second name", Result: outcomeRefused, Note: "not answering: /run/docker.sock is gone; up and the supervisor replace the runner", Test: "TestBrokenMachines"},
	{ID: "break-user", Group: "Jobs that break their machine", Input: "userdel runner · empty /etc/passwd · groupdel docker · chmod 600 the socket · chmod 0 /", Result: outcomeRefused, Note: "not answering: the user runner may not use the socket, or is missing; the runner is replaced", Test: "TestBrokenMachines"},
	{ID: "break-stopped", Group: "Jobs that break their machine", Input: "pkill -STOP dockerd", Result: outcomeRefused, Note: "not answering: dockerd is stopped by a signal; down continues after at most 20 seconds", Test: "TestDownOfAStoppedDaemon"},
	{ID: "break-network", Group: "Jobs that break their machine", Input: "ip link del tap0", Result: outcomeRefused, Note: "the runner ends at once with the reason in its log, and is replaced or started again", Test: "TestNetworkGone"},
	{ID: "resolvconf", Group: "Jobs that break their machine", Input: "apt install resolvconf, or a link, pipe or folder at /etc/hosts; restart of the container", Result: outcomePasses, Test: "TestStartsAgainAfterChanges"},
	{ID: "exec-interrupted", Group: "Jobs that break their machine", Input: "Ctrl-C of runnerctl exec without a terminal", Result: outcomePasses, Note: "the command gets SIGTERM, and SIGKILL 10 seconds later", Test: "TestInterruptedExec"},
	{ID: "daemons-killed", Group: "Jobs that break their machine", Input: "kill -9 of dockerd or containerd", Result: outcomePasses, Note: "five deaths in a row end the runner with code 70", Test: "TestInnerDaemonsKilled"},
}

// restartDockerd is for scripts that change the daemon's settings.
const restartDockerd = `
# answers SECONDS waits for the daemon.
answers() {
	for _ in $(seq $(($1 * 10))); do
		docker version >/dev/null 2>&1 && return
		sleep 0.1
	done
	echo "the daemon does not answer within $1 s" >&2
	return 1
}
restart_dockerd() {
	local pid
	pid=$(pgrep -o -x dockerd)
	sudo kill "$pid"
	for _ in $(seq 200); do
		[ -d "/proc/$pid" ] || break
		sleep 0.1
	done
	answers 15
}
`
