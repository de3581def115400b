#!/bin/sh
# Runs one runner of the fleet nightly until it ends, and removes it: ./run.sh NAME [OPTION…]
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
	--cpus 1.5 \
	--memory 2147483648 \
	--pids-limit 1000 \
	--log-driver json-file \
	--log-opt max-file=3 \
	--log-opt max-size=10m \
	--init=false \
	--env 'RUNNERCTL_SETTINGS={"network":{"driver":"pasta","mtu":65520},"docker":{"bip":"10.213.0.1/17","pools":["base=10.213.128.0/17,size=24"]},"shm":1073741824}' \
	--env http_proxy=http://proxy.example.com:3128 \
	--env HTTP_PROXY=http://proxy.example.com:3128 \
	--env no_proxy=localhost,127.0.0.1,::1,host.docker.internal,169.254.213.0/24,10.213.0.0/17,10.213.128.0/17 \
	--env NO_PROXY=localhost,127.0.0.1,::1,host.docker.internal,169.254.213.0/24,10.213.0.0/17,10.213.128.0/17 \
	--env-file runner.env "$@" runnerctl/runner:x
