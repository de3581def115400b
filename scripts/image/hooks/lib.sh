# shellcheck shell=bash
# What both hooks need.

# run_all FOLDER runs the operator's hooks in the order of their names.
run_all() {
	local hook
	for hook in "/usr/lib/runnerctl/hooks/$1"/*; do
		[[ -x $hook ]] || continue
		"$hook" || {
			echo "hook ${hook##*/} of $1 failed with code $?" >&2
			return 1
		}
	done
}

# tidy_docker removes containers and networks that jobs left, but for those of the
# job that runs, which the agent itself removes. Images stay.
tidy_docker() {
	local own containers
	own=$(docker network ls --quiet --filter name=^github_network_ | xargs -r docker network inspect --format '{{range $id, $_ := .Containers}}{{$id}}{{"\n"}}{{end}}')
	containers=$(docker ps --all --quiet --no-trunc | grep -vxF -e "${own:-none}" || true)
	[[ -z $containers ]] || xargs docker rm --force --volumes <<<"$containers" >/dev/null
	docker network ls --quiet --filter type=custom --format '{{.ID}} {{.Name}}' | while read -r id name; do
		case "$name" in github_network_*) continue ;; esac
		docker network rm "$id" >/dev/null
	done
}

# clean_workspace has the cleaner empty the work folder, and waits for its answer to
# this very question: one that took too long may have left its own.
clean_workspace() {
	local answer
	# Opening the pipe waits until the cleaner is free.
	# shellcheck disable=SC2016 # the inner shell expands it
	answer=$(timeout 60 bash -c '
		echo "$1" >/run/runnerctl/clean
		while read -r asker said; do
			[[ $asker != "$1" ]] || { echo "$said" && break; }
		done </run/runnerctl/cleaned' - "$EPOCHREALTIME") || answer='not done within 60s'
	[[ -z $answer ]] || {
		echo "cleaning the workspace: $answer" >&2
		return 1
	}
}
