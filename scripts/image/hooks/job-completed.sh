#!/bin/bash
# After a job's last step, as runner: the operator's hooks, then, in a runner of many
# jobs, nothing of this one is left to the next. A runner of one job is gone with it.
set -eu
# shellcheck source=/dev/null
. /usr/lib/runnerctl/hooks/lib.sh
run_all job-completed.d
if [[ -p /run/runnerctl/clean ]]; then
	tidy_docker
	clean_workspace
fi
