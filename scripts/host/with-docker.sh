#!/usr/bin/env bash
# Runs a command with access to the engine's socket, also in a shell that was opened
# before its user joined the group docker. with-docker.sh CMD [ARG…]
set -euo pipefail
if [ -n "${DOCKER_HOST:-}" ] || [ -w /var/run/docker.sock ]; then
	exec "$@"
fi
exec sg docker -c "$(printf '%q ' "$@")"
