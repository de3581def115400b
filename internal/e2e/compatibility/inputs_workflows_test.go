//go:build linux

package compatibility

// workflowInputs are the workflows of the suite, a line each, and other things in whole
// workflows that work.
var workflowInputs = []input{
	workflowInput("services", "services with health checks, ports and a password", ""),
	longWorkflowInput("service-unhealthy", "a service that never becomes healthy", "the job fails before its steps, with the service's log"),
	workflowInput("container", "container: with services, volumes, options and the Docker socket", ""),
	longWorkflowInput("matrix", "strategy.matrix with include and exclude, one port for all jobs", ""),
	workflowInput("compose", "docker compose up --wait with builds, health checks, a range of ports, secrets", ""),
	workflowInput("buildx", "docker buildx with cache mounts, secrets, exports; bake", ""),
	workflowInput("multi-arch", "docker buildx build --platform linux/arm64 after tonistiigi/binfmt", ""),
	longWorkflowInput("testcontainers", "Testcontainers: a reaper with the socket", ""),
	workflowInput("workflow-tool-cache", "RUNNER_TOOL_CACHE as the setup actions use it", ""),
	workflowInput("files", "GITHUB_ENV, GITHUB_PATH, GITHUB_OUTPUT, GITHUB_STEP_SUMMARY, masks, if", ""),
	workflowInput("cancelled", "a job that is cancelled", "INT, then 7.5 s, TERM, 2.5 s, KILL; steps with if: always() run"),
	longWorkflowInput("timed-out", "timeout-minutes of a step and of the job", ""),
	longWorkflowInput("out-of-memory", "a step and a container that take all memory", "they are killed (137); the runner and its Docker daemon survive"),
	workflowInput("disk-full", "No space left on device", "the step fails"),
	workflowInput("sudo", "sudo: packages, users, mounts, port 80, sysctl; strace, gdb, bwrap", ""),
	longWorkflowInput("databases", "postgresql, redis-server, mariadb-server from apt, started by service", ""),
	longWorkflowInput("browsers", "chromium --headless with its sandbox", ""),
	{ID: "act", Group: workflowGroup, Input: "nektos/act -P ubuntu-latest=-self-hosted", Result: outcomePasses, Test: "TestWorkflowsByAct"},
	{
		ID: "api-versions", Group: workflowGroup, Input: "DOCKER_API_VERSION=1.24 … 1.45", Result: outcomePasses,
		Script: `for minor in $(seq 24 45); do
	expect '[' curl -fsS --unix-socket /var/run/docker.sock "http://docker/v1.$minor/containers/json"
	DOCKER_API_VERSION=1.$minor expect "" docker ps --quiet
done`,
	},
	{
		ID: "container-user-socket", Group: workflowGroup, Input: "docker run --user 4000 --group-add $(stat -c %g /var/run/docker.sock) -v /var/run/docker.sock:…", Result: outcomePasses,
		Script: `busybox_image
expect 4000 docker run --rm --user 4000 bb id -u
socket=/var/run/docker.sock
inside=(docker run --rm --user 4000 -v $socket:$socket -v /usr:/usr:ro -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro)
expect "$(docker info --format '{{.ID}}')" "${inside[@]}" --group-add "$(stat -c %g $socket)" bb /usr/bin/docker info --format '{{.ID}}'
[[ $("${inside[@]}" bb /usr/bin/docker info --format '{{.ID}}' 2>&1) == *"permission denied"* ]]`,
	},
	{
		ID: "zombies", Group: workflowGroup, Input: "processes whose parent is gone", Result: outcomePasses, Note: "reaped by the machine's first process",
		Script: `busybox_image
for _ in $(seq 20); do setsid sh -c 'sleep 0.2 & sleep 0.1 &'; done
docker run --rm --init bb sh -c 'for i in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 1; ! ps | grep -q "\[sleep\]"'
sleep 1
left=$(ps -eo stat=,args= | grep '^Z' || true)
[ -z "$left" ] || { echo "$left" >&2; exit 1; }`,
	},
}

const workflowGroup = "Workflows"

func workflowInput(name, shown, note string) input {
	return input{ID: name, Group: workflowGroup, Input: shown, Result: outcomePasses, Note: note, Test: "TestWorkflows"}
}

func longWorkflowInput(name, shown, note string) input {
	return input{ID: name, Group: workflowGroup, Input: shown, Result: outcomePasses, Note: note, Test: "TestWorkflowsLong"}
}
