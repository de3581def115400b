//go:build linux

package compatibility

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// sleeping counts the machine's processes "sleep" whose argument begins with the given
// digits.
const sleeping = `sleeping() { ps -C sleep -o args= | grep --count "sleep $1" || true; }
`

// containerInputs are ways in which jobs use containers beyond running them.
var containerInputs = []input{
	{
		ID: "pid-host", Group: "Containers", Input: "docker run -d --pid host bb sh -c 'sleep 9999 & sleep 9998'; docker rm -f", Result: outcomePasses,
		Script: sleeping + `busybox_image
			docker run --detach --name pid-host --pid host bb sh -c '(sleep 9991 & sleep 9992 &); sleep 9993' >/dev/null
			docker exec --detach pid-host sleep 9994
			within 120 docker rm --force pid-host; [ "$(sleeping 999)" = 0 ]`,
	},
	{
		ID: "pid-container", Group: "Containers", Input: "docker run -d --pid container:other …; docker stop", Result: outcomePasses,
		Script: sleeping + `busybox_image
			docker run --detach --name pid-other bb sleep 9981 >/dev/null
			docker run --detach --name pid-shared --pid container:pid-other bb sh -c '(sleep 9982 & sleep 9983 &); sleep 9984' >/dev/null
			within 120 docker stop --time 1 pid-shared; [ "$(sleeping 998)" = 1 ]
			within 120 docker rm --force pid-shared pid-other`,
	},
	{
		ID: "pid-host-exit", Group: "Containers", Input: "docker run --rm --pid host … (it ends, its children don't)", Result: outcomePasses,
		// Several at once: containerd misses children if a container ends while it starts.
		Script: sleeping + `busybox_image; runs=
			for number in $(seq 8); do within 120 docker run --rm --pid host bb sh -c 'sleep 9971 & exit 3' & runs="$runs $!"; done
			for run in $runs; do code=0; wait $run || code=$?; [ $code = 3 ]; done; [ "$(sleeping 997)" = 0 ]`,
	},
	{
		ID: "pid-host-compose", Group: "Containers", Input: "docker compose down (services with pid: host and pid: service:…)", Result: outcomePasses,
		Script: sleeping + `busybox_image; cd "$(mktemp -d)"
			printf 'services:\n  one: {image: bb, pid: host, command: sh -c "sleep 9961 & sleep 9962", stop_grace_period: 1s}\n  two: {image: bb, pid: "service:one", init: true, command: sh -c "sleep 9963 & sleep 9964", stop_grace_period: 1s}\n' >compose.yaml
			docker compose up --detach --quiet-pull; within 120 docker compose down; [ "$(sleeping 996)" = 0 ]`,
	},
	{
		ID: "docker-top", Group: "Containers", Input: "docker top", Result: outcomePasses,
		Script: `busybox_image; docker run --detach --init --name top bb sh -c 'sleep 9951 & sleep 9952' >/dev/null; docker exec --detach top sleep 9953
			for number in 1 2 3; do expect "sleep 995$number" docker top top; done; docker rm --force top`,
	},
	{
		ID: "docker-pause", Group: "Containers", Input: "docker pause; docker unpause; docker rm -f of a paused container", Result: outcomePasses,
		Script: `busybox_image; docker run --detach --name paused bb sh -c 'while :; do date +%N >/now; done' >/dev/null; docker pause paused
			expect paused docker inspect --format '{{.State.Status}}' paused
			first=$(docker cp paused:/now - | sha256sum); sleep 0.3; [ "$first" = "$(docker cp paused:/now - | sha256sum)" ]
			docker unpause paused; sleep 0.5; [ "$first" != "$(docker cp paused:/now - | sha256sum)" ]
			docker pause paused; within 120 docker stop --time 1 paused; docker start paused; docker pause paused; within 120 docker rm --force paused`,
	},
	{
		ID: "docker-update", Group: "Containers", Input: "docker update --restart no --cpus 1", Result: outcomePasses, Note: "limits of one container are accepted and ignored; the runner's limits apply",
		Script: `busybox_image; docker run --detach --name updated --restart always bb sleep 9941 >/dev/null; docker update --restart no --cpus 1 updated
			expect no docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' updated; docker rm --force updated`,
	},
	{
		ID: "docker-kill", Group: "Containers", Input: "docker kill --signal USR1; exit codes; --restart on-failure; --stop-timeout", Result: outcomePasses,
		Script: `busybox_image; docker run --detach --name killed bb sh -c 'trap "exit 7" USR1; while :; do sleep 0.1; done' >/dev/null; sleep 1; docker kill --signal USR1 killed; [ "$(docker wait killed)" = 7 ]
			docker start killed; docker kill killed; [ "$(docker wait killed)" = 137 ]; docker rm killed
			docker run --detach --name again --restart on-failure:2 bb false >/dev/null; for try in $(seq 100); do [ "$(docker inspect --format '{{.RestartCount}} {{.State.Status}}' again)" != "2 exited" ] || break; sleep 0.1; done
			expect "2 exited" docker inspect --format '{{.RestartCount}} {{.State.Status}}' again; docker rm again
			docker run --detach --name slow --pid host --stop-timeout 1 bb sh -c 'trap "" TERM; while :; do sleep 0.1; done' >/dev/null; sleep 0.5; within 120 docker stop slow; [ "$(docker wait slow)" = 137 ]; docker rm slow`,
	},
	{
		ID: "swarm", Group: "Containers", Input: "docker swarm init; docker stack deploy; docker secret create; overlay networks", Result: outcomePasses, Long: true, Fresh: true,
		Note: "the virtual address of a service needs IPVS in the host's kernel (modprobe ip_vs); with endpoint_mode: dnsrr, or as tasks.NAME, the service is reached without IPVS",
		Script: `busybox_image; cd "$(mktemp -d)"; docker swarm init --advertise-addr 127.0.0.1 >/dev/null; echo hidden | docker secret create key - >/dev/null
			printf 'version: "3.8"\nservices:\n  web: {image: bb, command: "httpd -f -h /run/secrets", secrets: [key], networks: [inner], deploy: {endpoint_mode: dnsrr}}\nnetworks: {inner: {driver: overlay, attachable: true}}\nsecrets: {key: {external: true}}\n' >stack.yaml
			docker stack deploy --resolve-image never --compose-file stack.yaml app
			for try in $(seq 100); do docker run --rm --network app_inner bb wget -qO- http://web/key 2>/dev/null | grep -q hidden && break; sleep 0.5; done
			expect hidden docker run --rm --network app_inner bb wget -qO- http://web/key; docker stack rm app; within 120 docker swarm leave --force`,
	},
	{
		ID: "reaper", Group: "Containers", Input: "a container that has /var/run/docker.sock (Testcontainers' reaper)", Result: outcomePasses,
		Script: `busybox_image; docker run --detach --label reaped --name reaped bb sleep 9931 >/dev/null
			docker run --rm --volume /:/host bb chroot /host curl -fsS --unix-socket /var/run/docker.sock --request DELETE 'http://docker/containers/reaped?force=1'
			[ -z "$(docker ps --all --quiet --filter label=reaped)" ]`,
	},
	{
		ID: "layers", Group: "Containers", Input: "whiteouts, hard links and capabilities through docker save, load, export and commit", Result: outcomePasses,
		Script: `busybox_image; docker run --name layers bb sh -c 'echo x >/one; ln /one /two; rm /bin/vi; mkdir -p /opaque/old'; docker commit layers layers:1 >/dev/null
			printf 'FROM layers:1\nRUN rm -r /opaque && mkdir /opaque && touch /opaque/new && rm /one\n' | docker build --quiet --tag layers:2 -
			docker save layers:2 >/tmp/layers.tar; docker rmi --force layers:1 layers:2 >/dev/null; docker load --quiet --input /tmp/layers.tar
			docker run --rm layers:2 sh -c '[ ! -e /bin/vi ] && [ ! -e /one ] && [ "$(cat /two)" = x ] && [ "$(ls /opaque)" = new ]'
			docker export layers | tar -t | grep -q '^two$'; docker rm layers`,
	},
	{
		ID: "init-zombies", Group: "Containers", Input: "docker run --init (children that lose their parent)", Result: outcomePasses,
		Script: `busybox_image; docker run --detach --init --name zombies bb sh -c 'for n in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 9921' >/dev/null; sleep 1; [ -z "$(docker exec zombies ps -o stat,args | grep '^Z')" ]; docker rm --force zombies`,
	},
	{
		ID: "macvlan", Group: "Containers", Input: "docker network create --driver macvlan; docker run --device /dev/net/tun --cap-add NET_ADMIN", Result: outcomePasses,
		Script: `busybox_image; sudo ip link add parent0 type veth peer name parent1; sudo ip link set parent0 up
			docker network create --driver macvlan --subnet 10.77.0.0/24 --opt parent=parent0 macvlan >/dev/null; expect 10.77.0. docker run --rm --network macvlan bb ip address; docker network rm macvlan
			docker run --rm --device /dev/net/tun --cap-add NET_ADMIN bb sh -c 'tunctl -t tun7 2>/dev/null || ip tuntap add tun7 mode tun'; sudo ip link delete parent0`,
	},
}

// podmanInputs use podman and buildah from the distribution.
var podmanInputs = []input{
	{
		ID: "podman", Group: "Podman and buildah", Input: "sudo apt-get install podman; podman run; podman build; buildah from", Result: outcomePasses, Long: true,
		Note: "as runner and as root; rootless containers have ids up to 64534, with `runners.idRange: 2147483648` up to 65536", Fresh: true,
		Script: `sudo apt-get update -qq; sudo apt-get install -y -qq --no-install-recommends busybox-static podman buildah crun netavark aardvark-dns passt uidmap catatonit >/dev/null
			busybox_image; docker save bb -o /tmp/bb.tar; mkdir /tmp/build; printf 'FROM localhost/bb\nRUN echo x >/file\n' >/tmp/build/Containerfile
			for root in "" sudo; do
				$root podman load --input /tmp/bb.tar; $root podman tag docker.io/library/bb localhost/bb
				expect hello $root podman run --rm localhost/bb echo hello
				$root podman build --tag built /tmp/build; expect x $root podman run --rm built cat /file
				$root podman run --detach --name web --publish 8090:80 localhost/bb sh -c 'echo page >/index.html; exec httpd -f -h /' >/dev/null
				for try in $(seq 50); do curl -fs localhost:8090 && break; sleep 0.1; done; expect page curl -fs localhost:8090
				$root podman rm --force --time 0 web
				$root buildah rm "$($root buildah from localhost/bb)"
			done
			expect overlay podman info --format '{{.Store.GraphDriverName}}'; [ "$(stat -f -c %T /var/lib/containers)" != overlayfs ]`,
	},
}

// idInputs are images and users with ids that need runners.idRange.
var idInputs = []input{
	{
		ID: "ids-narrow", Group: "Ids above 65535", Input: "docker import of files of uid 70000; docker run -u 70000; useradd -u 70000", Result: outcomeRefused,
		Note: "the default, `runners.idRange: 65536`: Docker's error says \"try increasing the number of subordinate IDs\", which is that number", Test: "TestIDsAreNarrow",
	},
	{
		ID: "ids-wide", Group: "Ids above 65535", Input: "the same, and docker build with uid 2147483647", Result: outcomePasses,
		Note: "with `runners.idRange: 2147483648`", Test: "TestIDsAreWide",
	},
}

// importIDs makes an image "ids" from a file with the given owner.
const importIDs = `import_ids() { busybox_image; local made; made=$(mktemp -d); cp "$(command -v busybox)" "$made/busybox"; tar -c --numeric-owner --owner="$1" --group="$1" -C "$made" . | docker import - ids; }
`

// With the narrow range, an image with higher ids is refused with an error that runnerctl
// explains.
func TestIDsAreNarrow(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name
	for _, script := range []string{
		"import_ids 70000", "busybox_image; docker run --rm --user 70000 bb id",
		`busybox_image; printf 'FROM bb\nRUN touch /file && chown 70000 /file\n' | docker build --quiet -`,
		"sudo useradd --uid 70000 big && sudo -u big true",
	} {
		code, _, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-ec", e2e.Prelude+importIDs+script)
		if code == 0 {
			t.Errorf("%s: exit code 0, want a failure", script)
		}
		if found := doctor.Explain(stderr); !strings.Contains(script, "chown") && !strings.Contains(script, "useradd") { // whose own error is "Invalid argument"
			if found == nil || found.ID != "ids.narrow" {
				t.Errorf("%s: known as %+v, want ids.narrow; stderr:\n%s", script, found, stderr)
			}
		}
	}
}
