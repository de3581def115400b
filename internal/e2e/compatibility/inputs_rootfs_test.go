//go:build linux

package compatibility

// refuses CODE TEXT COMMAND… fails unless the command ends with the code and prints the text.
const refuses = `
refuses() {
	local want=$1 text=$2 code=0 got
	shift 2
	got=$("$@" 2>&1) || code=$?
	[[ $code == "$want" && $got == *"$text"* ]] || { echo "$*: code $code: $got; want $want: $text" >&2; return 1; }
}
`

// rootfsInputs are the tools, settings and services that jobs expect on their machine.
var rootfsInputs = []input{
	{
		ID: "tools", Group: "Tools and settings", Input: "for t in git-lfs zstd bzip2 rsync lsb_release file make patch gpg; do command -v $t; done", Result: outcomePasses,
		Note:   "gh, gcc, python3, pip3, node and dig come with `image.profile: hosted` ([profiles.md](profiles.md))",
		Script: `for t in git-lfs zstd bzip2 rsync lsb_release file make patch gpg nc tree envsubst unzip zip; do command -v $t >/dev/null || { echo "no $t" >&2; exit 1; }; done; ldconfig -p | grep -q libatomic.so.1`,
	},
	{
		ID: "tools-hosted", Group: "Tools and settings", Input: "for t in gh gcc python3 pip3 node npm dig java go php; do command -v $t; done", Result: outcomePasses,
		Note: "with `image.profile: hosted`", Test: "TestHostedProfile",
	},
	{
		ID: "opt-tool-cache", Group: "Tools and settings", Input: "mkdir -p /opt/hostedtoolcache/Ruby", Result: outcomePasses,
		Note:   "setup-ruby and setup-python have builds only for Ubuntu: use `image.base: ubuntu:24.04`, or the distribution's packages",
		Script: `mkdir -p "$AGENT_TOOLSDIRECTORY/Ruby" && [ "$AGENT_TOOLSDIRECTORY $RUNNER_TOOL_CACHE" = "/opt/hostedtoolcache /opt/hostedtoolcache" ]`,
	},
	{
		ID: "local-bin", Group: "Tools and settings", Input: "~/.local/bin is in PATH, as pip install --user and pipx expect", Result: outcomePasses,
		Script: `mkdir -p ~/.local/bin && printf '#!/bin/sh\necho found\n' >~/.local/bin/x-own && chmod +x ~/.local/bin/x-own && expect found x-own`,
	},
	{
		ID: "environment", Group: "Tools and settings", Input: "env, in a step and in runnerctl exec", Result: outcomePasses,
		Note: "the same in both, from /etc/environment", Test: "TestJobsAndExecHaveOneEnvironment",
	},
	{
		ID: "apt-without-yes", Group: "Tools and settings", Input: "sudo apt install dnsutils", Result: outcomePasses,
		Script: `sudo apt-get update -qq; sudo apt install dnsutils >/dev/null && expect DiG dig -v`,
	},
	{
		ID: "debconf", Group: "Tools and settings", Input: "sudo apt-get install tzdata-legacy keyboard-configuration", Result: outcomePasses, Note: "packages that ask questions get their defaults",
		Script: `sudo apt-get update -qq; within 300 sudo env -u DEBIAN_FRONTEND apt-get install keyboard-configuration >/dev/null`,
	},
	{
		ID: "mtab", Group: "Tools and settings", Input: "df -h; cat /etc/mtab", Result: outcomePasses,
		Script: `grep -q ' / ' /etc/mtab && df / >/dev/null`,
	},
	{
		ID: "buildx-version", Group: "Tools and settings", Input: "docker buildx version, for cache-to: type=gha", Result: outcomePasses,
		Note: "0.21 or newer, from its release at GitHub or `image.buildx`; if neither is available, the distribution's version, and the build and `doctor` report it", Test: "TestBuildxOfTheSettings",
	},
	{
		ID: "proxy", Group: "Tools and settings", Input: "curl, apt, docker pull, docker run and docker build behind a proxy", Result: outcomePasses,
		Note: "with `runners.proxy`; localhost and the runner's own networks bypass it", Test: "TestRunnersProxy",
	},
	{
		ID: "runners-env", Group: "Tools and settings", Input: "variables for every job", Result: outcomePasses, Note: "`runners.env`", Test: "TestJobsAndExecHaveOneEnvironment",
	},
	{
		ID: "sysctl-enough", Group: "Kernel settings", Input: "sudo sysctl -w vm.max_map_count=65530", Result: outcomePasses, Note: "a limit that the host already provides, or a lower one; also in files and with `--system`",
		Script: `want=$(sysctl -n vm.max_map_count)
			sudo sysctl -w vm.max_map_count="$want"
			sudo sysctl -w vm.max_map_count=$((want - 1)) fs.inotify.max_user_instances=1
			printf 'fs.file-max = 1\n# a comment\n' | sudo tee /etc/sysctl.d/60-own.conf >/dev/null
			sudo sysctl -p /etc/sysctl.d/60-own.conf && sudo sysctl --system >/dev/null`,
	},
	{
		ID: "sysctl-own", Group: "Kernel settings", Input: "sudo sysctl -w net.core.somaxconn=4096 net.ipv4.ip_forward=1", Result: outcomePasses, Note: "of the machine's own network",
		Script: `sudo sysctl -w net.core.somaxconn=4097 net.ipv4.ip_forward=1 && [ "$(sysctl -n net.core.somaxconn)" = 4097 ]`,
	},
	{
		ID: "sysctl-userns", Group: "Kernel settings", Input: "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", Result: outcomePasses, Note: "if the host does not restrict user namespaces",
		Script: `[ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ] || sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; unshare --user --map-root-user true`,
	},
	{
		ID: "sysctl-of-the-host", Group: "Kernel settings", Input: "sudo sysctl -w vm.max_map_count=99999999", Result: outcomeOfHost, Note: "the error shows the command for the host",
		Script: refuses + `refuses 1 "on the host, run: sysctl -w 'vm.max_map_count=99999999'" sudo sysctl -w vm.max_map_count=99999999
			refuses 1 "belongs to the runner's host" sudo sysctl -w vm.swappiness=1`,
	},
	{
		ID: "redis", Group: "Services", Input: "sudo apt-get install redis-server; redis-cli ping", Result: outcomePasses, Note: "packages start their services",
		Script: refuses + `sudo apt-get update -qq; sudo apt-get install redis-server >/dev/null; expect PONG redis-cli ping
			expect active systemctl is-active redis; expect enabled systemctl is-enabled redis
			sudo systemctl stop redis-server; refuses 1 "Connection refused" redis-cli ping; sudo service redis-server start; expect PONG redis-cli ping`,
	},
	{
		ID: "notify", Group: "Services", Input: "sudo systemctl start NAME, whose unit has Type=notify", Result: outcomePasses, Note: "the command waits until the service listens",
		Script: refuses + `printf '[Service]\nType=notify\nExecStart=/usr/bin/perl late\n' | sudo tee /etc/systemd/system/late.service >/dev/null
			cat >late <<'END'
				use IO::Socket::INET;
				exit if fork;
				open STDOUT, ">/dev/null"; open STDERR, ">/dev/null";
				sleep 2;
				my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:9147") or die;
				sleep 30;
END
			printf '#!/bin/sh\nset -eu\n. /lib/lsb/init-functions\n[ "$1" != start ] || perl %s/late\n' "$PWD" | sudo tee /etc/init.d/late >/dev/null
			sudo chmod +x /etc/init.d/late
			for start in "systemctl start late" "service late start" "invoke-rc.d late start"; do
				refuses 1 "Connection refused" bash -c "</dev/tcp/127.0.0.1/9147"
				sudo $start; bash -c "</dev/tcp/127.0.0.1/9147"; sudo pkill -f "^perl $PWD/late"; while pgrep -f "^perl $PWD/late"; do sleep 0.1; done
			done`,
	},
	{
		ID: "postgresql", Group: "Services", Input: "sudo apt-get install postgresql; sudo systemctl start postgresql.service", Result: outcomePasses, Long: true,
		Script: `sudo apt-get update -qq; sudo apt-get install postgresql >/dev/null; sudo systemctl start postgresql.service; expect accepting pg_isready
			sudo -u postgres psql -qc "create role runner superuser login"; expect 42 psql -h /var/run/postgresql -d postgres -Atc "select 42"
			sudo systemctl restart postgresql; expect accepting pg_isready; sudo systemctl status postgresql >/dev/null`,
	},
	{
		ID: "mysql", Group: "Services", Input: "sudo apt-get install mariadb-server; sudo systemctl start mysql", Result: outcomePasses, Long: true,
		Script: `sudo apt-get update -qq; sudo apt-get install mariadb-server >/dev/null; sudo systemctl start mysql; expect 42 sudo mysql -Ne "select 42"; sudo service mariadb status >/dev/null; sudo systemctl stop mysql.service`,
	},
	{
		ID: "nginx", Group: "Services", Input: "sudo apt-get install nginx memcached; curl localhost; sudo systemctl reload nginx", Result: outcomePasses, Long: true,
		Script: refuses + `sudo apt-get update -qq; sudo apt-get install nginx memcached >/dev/null; expect "Welcome to nginx" curl -fsS http://localhost; sudo systemctl reload nginx
			expect active systemctl is-active memcached; sudo systemctl disable --now nginx memcached; refuses 7 "" curl -fsS http://localhost; refuses 1 disabled systemctl is-enabled nginx`,
	},
	{
		ID: "service-docker", Group: "Services", Input: "sudo service docker start", Result: outcomePasses, Note: "also `systemctl`; the daemon always runs: a stop does nothing, a restart applies new settings",
		Script: `expect "already running" sudo service docker start; expect running service docker status; sudo systemctl start docker docker.socket containerd
			sudo systemctl enable --now docker; expect active systemctl is-active docker; expect "keeps docker running" sudo service docker stop`,
	},
	{
		ID: "service-docker-restart", Group: "Services", Input: "sudo systemctl restart docker", Result: outcomePasses, Long: true, Fresh: true,
		Script: `before=$(pgrep -P 1 -x dockerd); sudo systemctl restart docker; docker info >/dev/null; [ "$(pgrep -P 1 -x dockerd)" != "$before" ]
			sudo apt-get update -qq; sudo apt-get install --reinstall docker.io containerd >/dev/null
			expect "already running" sudo service docker start; sudo invoke-rc.d docker start; docker info >/dev/null`,
	},
	{
		ID: "unit-only", Group: "Services", Input: "sudo systemctl start SERVICE, where its package has a unit and no init script", Result: outcomeRefused, Note: "this machine has no systemd; the error shows the command of the unit",
		Script: refuses + `sudo mkdir -p /etc/systemd/system; printf '[Service]\nUser=nobody\nExecStart=/usr/bin/own --serve\n' | sudo tee /etc/systemd/system/own.service >/dev/null
			sudo systemctl daemon-reload; sudo systemctl enable own; refuses 1 "its command is: sudo -u nobody /usr/bin/own --serve" sudo systemctl start own`,
	},
	{
		ID: "no-unit", Group: "Services", Input: "sudo systemctl stop SERVICE, where there is none", Result: outcomeRefused, Note: "with systemd's own messages and codes",
		Script: refuses + `refuses 5 "Unit no-such.service not found." sudo systemctl stop no-such
			refuses 3 inactive systemctl is-active no-such; sudo systemctl mask apt-daily.timer; sudo systemctl stop apt-daily.timer apt-daily.service`,
	},
	{
		ID: "user-units", Group: "Services", Input: "systemctl --user start SERVICE; snap install", Result: outcomeRefused, Note: "no user manager, no snapd: both need systemd",
		Script: refuses + `refuses 1 "no user service manager" systemctl --user start x; refuses 1 "" command -v snap`,
	},
}
