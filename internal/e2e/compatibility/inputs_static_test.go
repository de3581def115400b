//go:build linux

package compatibility

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// spoiled is a job of a static runner that leaves something, and the check in the next job.
type spoiled struct {
	ID    string
	Input string
	Note  string
	First string // fails only if it can't do its damage
	Next  string // ends with code 0 if nothing of First is left
}

// staticSpoils are inputs that only a runner of many jobs meets. If a script mounts /canary,
// the files there must survive the cleaning.
var staticSpoils = []spoiled{
	{
		ID: "static-mount-workspace", Input: "mount --bind /etc/skel ws (left in the workspace)",
		First: `mkdir -p ws 'a b' deep/er "$RUNNER_TEMP/own"
			for place in "$PWD/ws" "$PWD/a b" "$PWD/deep/er" "$PWD/deep" "$PWD/ws" "$RUNNER_TEMP/own" "$RUNNER_TOOL_CACHE"; do sudo mount --bind /canary "$place"; done`,
		Next: `ls -lA "$RUNNER_TOOL_CACHE"; [ ! -e "$RUNNER_TOOL_CACHE/file" ]; [ ! -e "$RUNNER_TEMP/own/file" ]`,
	},
	{
		ID: "static-mount-names", Input: `mount -t tmpfs none $'tab\\there' (names with octal escapes)`,
		First: `for name in $'tab\there' 'back\slash' $'line\nend' '#' '-l' '*' 'a\040b'; do mkdir -- "$name" && sudo mount -t tmpfs none "$PWD/$name" && sudo touch "$PWD/$name/file"; done`,
		Next:  `none grep -F "$PWD" /proc/self/mountinfo`,
	},
	{
		ID: "static-mount-overlay", Input: "mount -t overlay (over the workspace)",
		First: `sudo mount -t tmpfs none /mnt && sudo mkdir -p /mnt/{lower,upper,work} && sudo touch /mnt/lower/file
			sudo mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work none "$PWD" && sudo touch "$PWD/new"`,
		Next: `[ -e /mnt/lower/file ]; [ -e /mnt/upper/new ]; none grep -F "$PWD" /proc/self/mountinfo; sudo umount /mnt`,
	},
	{
		ID: "static-mount-readonly", Input: "mount -o remount,bind,ro on files and folders of the workspace",
		First: `mkdir folder && touch file folder/file && for place in file folder; do sudo mount --bind "$PWD/$place" "$PWD/$place" && sudo mount -o remount,bind,ro "$PWD/$place"; done
			none touch folder/new`,
		Next: `none grep -F "$PWD" /proc/self/mountinfo`,
	},
	{
		ID: "static-mount-elsewhere", Input: "unshare --mount sh -c 'mount --bind /etc ws; sleep 300 &' (a mount that only a process of the job sees)",
		First: `mkdir -p ws; sudo unshare --mount sh -c "mount --bind /canary '$PWD/ws' && exec sleep 300" >/dev/null 2>&1 & sleep 0.5`,
		Next:  `sudo pkill -x sleep`,
	},
	{
		ID: "static-container-mount", Input: "docker run -v $PWD:/ws -v /etc:/ws/etc (left running)",
		First: `busybox_image; docker run --detach --restart always --volume "$PWD:/ws" --volume /canary:/ws/etc bb sleep 300; mkdir own; [ -e etc ]`,
	},
	{
		ID: "static-links", Input: "ln -s / here (links out of the workspace, loops of links)",
		First: `ln -s /canary out; ln -s . here; ln -s loop loop; mkdir a; ln -s ../a a/a; ln -s /canary "$RUNNER_WORKSPACE/link"; ln -s /canary "$RUNNER_WORKSPACE/../link"`,
		Next:  `[ ! -L "$RUNNER_WORKSPACE/link" ]; [ ! -L "$RUNNER_WORKSPACE/../link" ]`,
	},
	{
		ID: "static-owners", Input: "sudo make install (files of other users, in RUNNER_TEMP too; sparse files of 1 TiB)",
		First: `sudo sh -c "umask 077; mkdir -p root/deep '$RUNNER_TEMP/root/deep' .hidden && touch root/deep/file '$RUNNER_TEMP/root/deep/file' .hidden/file && chown 1001 '$RUNNER_TEMP/root/deep' && chmod 0 root"
			for number in $(seq 50); do mkdir -p "tree/$number/deep" && truncate -s 1T "tree/$number/deep/sparse"; done`,
		Next: `[ ! -e "$RUNNER_TEMP/root" ]`,
	},
	{
		ID: "static-swarm", Input: "docker swarm init; docker service create", Note: "dockerd is restarted; the empty network docker_gwbridge stays",
		First: `busybox_image; docker swarm init --advertise-addr 127.0.0.1 && docker network create --driver overlay left-overlay && echo x | docker secret create left-secret - && docker service create --detach --name left --network left-overlay bb sleep 300`,
		Next:  `expect inactive docker info --format '{{.Swarm.LocalNodeState}}'; nothing docker ps --all --quiet; nothing networks`,
	},
	{
		ID: "static-context", Input: "docker context create X; docker context use X; docker login",
		First: `docker context create left --docker host=tcp://127.0.0.1:1 && docker context use left && mkdir -p ~/.docker && sudo mkdir -p /root/.docker && sudo cp ~/.docker/config.json /root/.docker/`,
		Next:  `expect default docker context show; docker version >/dev/null; [ ! -e ~/.docker ]; sudo test ! -e /root/.docker; [ "$(stat -c %U ~)" = runner ]`,
	},
	{
		ID: "static-environment", Input: "echo DOCKER_HOST=tcp://nowhere >>$GITHUB_ENV (DOCKER_CONFIG, a docker of one's own in PATH, ~/.curlrc)",
		First: `mkdir ~/first && for name in docker curl timeout bash; do printf '#!/bin/sh\nexit 9\n' >~/first/$name; done; chmod +x ~/first/docker ~/first/curl ~/first/timeout
			echo ~/first >>"$GITHUB_PATH"; printf 'DOCKER_HOST=tcp://127.0.0.1:1\nDOCKER_CONFIG=/nowhere\nDOCKER_TLS_VERIFY=1\nhttp_proxy=http://127.0.0.1:1\nCDPATH=/etc\n' >>"$GITHUB_ENV"
			echo 'max-time = 0.001' >~/.curlrc; echo 'export DOCKER_HOST=tcp://127.0.0.1:1' >>~/.profile
			docker volume create left`,
		Next: `[ -z "$(docker volume ls --quiet)" ]; rm ~/.curlrc; rm -r ~/first`,
	},
	{
		ID: "static-volumes", Input: "docker volume create data (named volumes of an earlier job)", Note: "they are removed with the job; images and the build cache are kept",
		First: `busybox_image; docker volume create data && docker run --rm --volume data:/data --volume other:/other bb touch /data/file && docker network create left`,
		Next:  `nothing docker volume ls --quiet; nothing networks; docker image inspect bb >/dev/null`,
	},
	{
		ID: "static-containers", Input: "docker run -d --restart always (running, paused, with a published port)",
		First: `busybox_image; docker run --detach --restart always --publish 8080:80 --name left bb httpd -f && docker run --detach --restart always --name paused bb sleep 300 && docker pause paused`,
		Next:  `[ -z "$(docker ps --all --quiet)" ]; docker run --rm --publish 8080:80 bb true`,
	},
	{
		ID: "static-processes", Input: "nohup server & (processes that a job leaves)", Note: "processes of the user runner are ended; services that a job started as root and packages that it installed are kept",
		First: `RUNNER_TRACKING_ID= nohup sh -c 'trap "" TERM; sleep 301 & sleep 302' >/dev/null 2>&1 & RUNNER_TRACKING_ID= setsid sleep 303 >/dev/null 2>&1 & sleep 0.2`,
		Next:  `none pgrep --list-full --exact sleep`,
	},
}

const staticGroup = "Runners of many jobs (ephemeral: false)"

// staticInputs returns the lines of the page for staticSpoils.
func staticInputs() (lines []input) {
	for _, one := range staticSpoils {
		lines = append(lines, input{ID: one.ID, Group: staticGroup, Input: one.Input, Result: outcomePasses, Note: one.Note, Test: "TestStaticRunner"})
	}
	return append(lines,
		input{ID: "static-mount-work", Group: staticGroup, Input: "mount --bind /etc ~/actions-runner/_work (over the work folder)", Result: outcomePasses, Note: "that job fails, because its agent loses its own files; later jobs do not", Test: "TestStaticRunnerWithAMountOverItsWork"},
		input{ID: "static-cleaner", Group: staticGroup, Input: "sudo rm -r /run/runnerctl (the runner can't be cleaned)", Result: outcomeRefused, Note: "jobs fail with the reason until the runner is replaced", Test: "TestStaticRunnerThatCanNotBeCleaned"})
}

// If the cleaning fails, the job fails, and so do later ones until it is repaired. The log
// names the cause.
func TestStaticRunnerThatCanNotBeCleaned(t *testing.T) {
	_, github, name := e2e.EnterpriseServer(t, ghsim.Options{}, "acme/api", "runners: {ephemeral: false}")
	e2e.Must(t, e2e.Up(name)...)
	result := e2e.AwaitJob(t, github, e2e.Queue(t, github, "sudo rm /run/runnerctl/clean"))
	if want := "this runner was not cleaned after its last job: the cleaner is gone"; result.Conclusion != "failure" || !strings.Contains(result.Log, want) {
		t.Errorf("got %+v, want failure with %q", result, want)
	}
}
