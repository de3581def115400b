#!/bin/bash
# Before a job's first step, as runner: waits for the machine's own Docker daemon,
# which starts beside the agent, then runs the operator's hooks. A failure fails the job.
set -eu
# For whoever asks which job a runner had when it is gone: in the container's own
# layer, where the engine's archive API finds it.
diag=/home/runner/actions-runner/_diag
[[ -z ${GITHUB_RUN_ID:-} ]] ||
	{ /usr/bin/mkdir -p "$diag" && echo "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/attempts/${GITHUB_RUN_ATTEMPT:-1} ${GITHUB_JOB:-}" >"$diag/job"; } || true
# shellcheck source=/dev/null
. /usr/lib/runnerctl/hooks/lib.sh
await_docker
# In a runner of many jobs the one before may have been cut off, or its cleaning may
# still be under way.
clean
run_all job-started.d
