#!/usr/bin/env bash
# Runs a command that may open the engine's socket, also in the shell that was
# open before its user joined the group docker. with-docker.sh CMD [ARG…]
set -euo pipefail
if [ -n "${DOCKER_HOST:-}" ] || [ -w /var/run/docker.sock ]; then
	exec "$@"
fi
exec sg docker -c "$(printf '%q ' "$@")"
