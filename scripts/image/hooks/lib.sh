# shellcheck shell=bash
# Functions of both hooks. They run with the environment of the job, so runnerctl's own
# part calls programs by their full path, without that environment.

# run_all FOLDER runs the operator's hooks in the order of their names.
run_all() {
	local hook
	for hook in "/usr/lib/runnerctl/hooks/$1"/*; do
		[[ -x $hook ]] || continue
		"$hook" </dev/null || {
			echo "hook ${hook##*/} of $1 failed with code $?" >&2
			return 1
		}
	done
}

# wake_docker starts a daemon that starts on demand. The job does not wait: its first docker command
# does, or gets the daemon's last words.
wake_docker() {
	/usr/bin/env -i /usr/bin/curl -q -s --max-time 60 --unix-socket /run/docker.sock http://docker/_ping </dev/null >/dev/null 2>&1 &
	disown
}

# report_actions gives the cache of the host the names of the job's actions. It downloads their
# archives by itself, so a wrong name does no harm.
report_actions() {
	[[ -d /usr/lib/runnerctl/archives ]] || return 0
	(cd "${RUNNER_WORKSPACE:-/nonexistent}/../_actions" 2>/dev/null || exit 0
		for completed in */*/*.completed; do
			[[ ! -f $completed ]] || { name=${completed%.completed} && echo "${name%/*}@${name##*/}"; }
		done) | /usr/bin/env -i /usr/bin/curl -q -s --max-time 2 --noproxy '*' --data-binary @- http://169.254.213.100:4180/runnerctl/actions >/dev/null 2>&1 || true
}

# await_docker waits for the machine's own daemon, even if the job uses another one. A daemon
# that starts on demand starts now. If it can't, the machine answers with its last words.
await_docker() {
	local limit=60 end answer
	end=$((SECONDS + limit))
	until answer=$(/usr/bin/env -i /usr/bin/curl -q -s --max-time 5 --unix-socket /run/docker.sock http://docker/_ping) && [[ $answer == OK ]]; do
		if [[ $answer == '{"message":"'*'"}' ]]; then
			answer=${answer#'{"message":"'}
			echo "${answer%'"}'}" >&2
			return 1
		fi
		((SECONDS < end)) || {
			echo "this runner's Docker daemon did not answer within ${limit}s; runnerctl logs --source dockerd shows why" >&2
			return 1
		}
		/usr/bin/sleep 0.05
	done
}

# clean lets the cleaner remove files and processes of jobs, and waits for the answer to
# this request: an earlier request that timed out may have left its answer. A runner of one
# job has no cleaner.
clean() {
	[[ -d /usr/lib/runnerctl/first ]] || return 0
	local answer limit=300
	# Opening the pipe waits until the cleaner is free.
	# shellcheck disable=SC2016 # the inner shell expands it
	answer=$(/usr/bin/env -i /usr/bin/timeout "$limit" /bin/bash -c '
		[[ -p /run/runnerctl/clean ]] || { echo "the cleaner is gone" && exit; }
		echo "$1" >/run/runnerctl/clean
		while read -r asker said; do
			[[ $asker != "$1" ]] || { echo "$said" && break; }
		done </run/runnerctl/cleaned' - "$EPOCHREALTIME" </dev/null) || answer="not done within ${limit}s"
	[[ -z $answer ]] || {
		echo "this runner was not cleaned after its last job: $answer" >&2
		echo "Its jobs fail until it is clean. Repair it with runnerctl exec --root, or replace it: runnerctl down, then up." >&2
		return 1
	}
}
