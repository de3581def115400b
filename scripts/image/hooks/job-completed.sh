#!/bin/bash
# After a job's last step, as runner: runs the operator's hooks, and in a runner of many
# jobs cleans up after this job. A runner of one job is removed after it.
set -eu
# shellcheck source=/dev/null
. /usr/lib/runnerctl/hooks/lib.sh
report_actions
code=0
run_all job-completed.d || code=$?
[[ ! -d /usr/lib/runnerctl/first ]] || { await_docker && clean; } || code=$?
exit "$code"
