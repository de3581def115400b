#!/bin/bash
# Before a job's first step, as runner: waits for the machine's own Docker daemon, which starts in
# parallel with the agent, or lets it start now, then runs the operator's hooks. A failure fails the
# job.
set -eu
# Records the runner's job for queries after its removal: in the container's own layer,
# where the engine's archive API finds it.
diag=/home/runner/actions-runner/_diag
[[ -z ${GITHUB_RUN_ID:-} ]] ||
	{ /usr/bin/mkdir -p "$diag" && echo "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/attempts/${GITHUB_RUN_ATTEMPT:-1} ${GITHUB_JOB:-}" >"$diag/job"; } || true
# shellcheck source=/dev/null
. /usr/lib/runnerctl/hooks/lib.sh
if [[ -e /run/runnerctl/on-demand && ! -d /usr/lib/runnerctl/first ]]; then wake_docker; else await_docker; fi
# In a runner of many jobs, the previous job may have been interrupted, or its clean-up
# may still be running.
clean
run_all job-started.d
