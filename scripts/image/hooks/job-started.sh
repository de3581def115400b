#!/bin/bash
# Before a job's first step, as runner: waits for the machine's own Docker daemon,
# which starts beside the agent, then runs the operator's hooks. A failure fails the job.
set -eu
# For whoever asks which job a runner had when it is gone: in the container's own
# layer, where the engine's archive API finds it.
diag=/home/runner/actions-runner/_diag
[[ -z ${GITHUB_RUN_ID:-} ]] ||
	{ mkdir -p "$diag" && echo "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/attempts/${GITHUB_RUN_ATTEMPT:-1} ${GITHUB_JOB:-}" >"$diag/job"; } || true
limit=60
until curl -fs --max-time 5 --output /dev/null --unix-socket /run/docker.sock http://docker/_ping; do
	((SECONDS < limit)) || {
		echo "this runner's Docker daemon did not answer within ${limit}s; runnerctl logs --source dockerd tells why" >&2
		exit 1
	}
	sleep 0.05
done
# shellcheck source=/dev/null
. /usr/lib/runnerctl/hooks/lib.sh
# In a runner of many jobs the one before may have been cut off, or its cleaning may
# still be under way.
if [[ -p /run/runnerctl/clean ]]; then
	tidy_docker
	clean_workspace
fi
run_all job-started.d
