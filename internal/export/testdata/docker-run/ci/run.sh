#!/bin/sh
# Runs one runner of the fleet ci until it ends, and removes it: ./run.sh NAME [OPTION…]
# More options go to docker run: --detach runs it in the background.
set -eu
name=${1:?usage: ./run.sh NAME [OPTION...]}
shift
cd "$(dirname "$0")"
exec docker run --rm --name "$name" --hostname "$name" \
	--stop-timeout 80 \
	--cap-drop ALL \
	--cap-add SETUID \
	--cap-add SETGID \
	--security-opt seccomp=seccomp.json \
	--security-opt apparmor=unconfined \
	--security-opt no-new-privileges=false \
	--security-opt systempaths=unconfined \
	--network bridge \
	--device /dev/net/tun \
	--tmpfs /run/user/1001:uid=1001,gid=1001,mode=700,exec \
	--volume /sys:/sys-rw \
	--cpus 2 \
	--memory 4294967296 \
	--pids-limit 32768 \
	--log-driver json-file \
	--log-opt max-file=3 \
	--log-opt max-size=10m \
	--init=false \
	--env 'RUNNERCTL_SETTINGS={"network":{"driver":"slirp4netns","mtu":21885},"docker":{"bip":"10.213.0.1/17","pools":["base=10.213.128.0/17,size=24"],"onDemand":true},"shm":1073741824,"env":["QUOTED=it'\''s $HOME, $(id) and \"b\""]}' \
	--env-file runner.env "$@" registry.example.com/runner:1
