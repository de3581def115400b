#!/bin/bash
# After a job's last step, as runner: the operator's hooks, then, in a runner of many
# jobs, nothing of this one is left to the next. A runner of one job is gone with it.
set -eu
# shellcheck source=/dev/null
. /usr/lib/runnerctl/hooks/lib.sh
code=0
run_all job-completed.d || code=$?
[[ ! -d /usr/lib/runnerctl/first ]] || { await_docker && clean; } || code=$?
exit "$code"
