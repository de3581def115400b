package config

import (
	"io"
	"text/template"

	"encoding/json"
)

// Every JSON string is a YAML string too.
var commented = template.Must(template.New("runnerctl.yaml").Funcs(template.FuncMap{
	"q": func(text string) (string, error) {
		quoted, err := json.Marshal(text)
		return string(quoted), err
	},
	"json": func(settings Dockerd) (string, error) {
		if text, err := settings.JSON(); text != "" || err != nil {
			return text, err
		}
		return "{}", nil
	},
}).Parse(`# runnerctl.yaml: one fleet of runners. Flags override the environment (RUNNERCTL_…),
# which overrides this file, which overrides the defaults.

name: {{q .Name}}

# Target of the runners: https://github.com/OWNER/REPO, /ORG or /enterprises/E.
# Empty: runners with Docker, but without GitHub's agent.
target: {{q .Target}}

image:
  # Root filesystem of jobs: any Debian or Ubuntu image whose packages have Docker ≥ 24.
  base: {{q .Image.Base}}
  # Small root filesystem that creates the user namespace; no job runs in it.
  outerBase: {{q .Image.Outer}}
  # sudo for jobs: root of their own machine, nobody on the host.
  sudo: {{.Image.Sudo}}
  # Packages for jobs: minimal (Docker, git and little more), standard (with the small
  # tools of GitHub's machines) or hosted (also languages and clients; docs/profiles.md).
  profile: {{.Image.Profile}}
  # Additional packages.
  packages: [{{range $i, $p := .Image.Packages}}{{if $i}}, {{end}}{{q $p}}{{end}}]
  # Dockerfile instructions at the end of the job root filesystem's build.
  dockerfile: {{q .Image.Dockerfile}}
  # GitHub's own runner program, installed if there is a target. It never updates
  # itself: GitHub accepts a version for about 30 days after its successor.
  agent:
    # latest, or a version like 2.330.0 (then with its sha256).
    version: {{q .Image.Agent.Version}}
    # A release archive to use instead of GitHub's: a file, or a URL with its sha256.
    archive: {{q .Image.Agent.Archive}}
    sha256: {{q .Image.Agent.SHA256}}
  # Docker's plugin for builds. GitHub's cache service needs 0.21 or newer, and
  # distributions have older versions.
  buildx:
    # latest, or a version like 0.31.1, from its releases at GitHub (the distribution's
    # version if GitHub can't be reached); distribution: always the distribution's.
    version: {{q .Image.Buildx.Version}}
    # The program to use instead: a file, or a URL with its sha256.
    archive: {{q .Image.Buildx.Archive}}
    sha256: {{q .Image.Buildx.SHA256}}

runners:
  count: {{.Runners.Count}}
  # Additional started runners, which replace ended runners at once.
  spares: {{.Runners.Spares}}
  # Limits of one runner, including all its containers.
  cpus: {{.Runners.CPUs}}
  memory: {{.Runners.Memory}}
  pids: {{.Runners.Pids}}
  # Size of /dev/shm (browsers need more than Docker's 64 MB).
  shm: {{.Runners.Shm}}
  # Allows docker run with the privileged flag inside a runner, which buildx's builders
  # need: privileged only in the runner's own machine.
  innerPrivileged: {{.Runners.InnerPrivileged}}
  # User and group ids in a runner: 65536, or 2147483648 for images whose files have ids
  # above 65535. The wide range uses ids 100000 to 2147583647 of the host, which a
  # directory service (LDAP, Active Directory) may have assigned to people's accounts.
  idRange: {{.Runners.IDRange}}
  # A container runtime that the engine knows, like sysbox-runc; empty: its default.
  runtime: {{q .Runners.Runtime}}
  # Settings of the runners' own Docker daemons, with the keys of daemon.json, like
  # {registry-mirrors: ["https://mirror.example.com"]}. Jobs can read them: no secrets.
  dockerd: {{json .Runners.Dockerd}}
  # System calls that are opened to jobs: io_uring, perf (docs/hosts.md has the risks).
  syscalls: [{{range $i, $w := .Runners.Syscalls}}{{if $i}}, {{end}}{{$w}}{{end}}]
  # Devices of the host for jobs: fuse, kvm, vhost-net, vhost-vsock.
  devices: [{{range $i, $w := .Runners.Devices}}{{if $i}}, {{end}}{{$w}}{{end}}]
  # Variables of jobs and of exec. Not for secrets: users of the engine can read them.
  env: { {{- range $name, $value := .Runners.Env}}{{$name}}: {{q $value}}, {{end -}} }
  # Proxies for the daemon, agent, jobs and builds of runners: URLs, and hosts that are
  # reached directly. The runner itself and its own networks are always reached directly.
  proxy: {http: {{q .Runners.Proxy.HTTP}}, https: {{q .Runners.Proxy.HTTPS}}, noProxy: [{{range $i, $h := .Runners.Proxy.NoProxy}}{{if $i}}, {{end}}{{q $h}}{{end}}]}
  # Time limit for a runner's Docker daemon to answer.
  readyTimeout: {{.Runners.ReadyTimeout}}

# Machines with a Docker Engine; empty: the engine that docker itself uses. Each has a
# name, an address (a docker context's name, ssh://user@vm, tcp:// with TLS, unix://)
# and a count of runners (default: runners.count).
hosts: [{{range $i, $h := .Hosts}}{{if $i}}, {{end}}{name: {{q $h.Name}}, address: {{q $h.Address}}{{with $h.Count}}, count: {{.}}{{end}}}{{end}}]

docker:
  # When a runner's own Docker daemon starts: eager (with the runner) or on-demand (at its
  # first use). Empty: on-demand for runners with a target and one job, eager for all others.
  start: {{q .Docker.Start}}
  # Time without any use after which a daemon that starts on demand stops again, in a
  # runner of many jobs; 0s: never.
  idleStop: {{.Docker.IdleStop}}

# A cache on each host, which all its fleets share. Jobs reach it through their runner; it
# keeps the rules of GitHub's own cache: each repository and branch has its own entries.
cache:
  # Disk space, like 50GiB; 0: no cache.
  size: {{.Cache.Size}}
  # Serve actions/cache, the setup actions and BuildKit's type=gha in place of GitHub.
  actions: {{.Cache.Actions}}
  # Registries whose images are mirrored. Runners reach other registries directly.
  registries: [{{range $i, $r := .Cache.Registries}}{{if $i}}, {{end}}{{q $r}}{{end}}]
  # URLs to use instead of a mirrored registry, like {docker.io: https://registry.example.com}.
  upstreams: {{"{"}}{{range $r, $u := .Cache.Upstreams}}{{q $r}}: {{q $u}}, {{end}}{{"}"}}
  # Logins at mirrored registries, like {docker.io: {username: me, passwordFile: hub.txt}}. Every job can
  # pull the images that they open.
  logins: {{"{"}}{{range $r, $l := .Cache.Logins}}{{q $r}}: {username: {{q $l.Username}}, passwordFile: {{q $l.PasswordFile}}}, {{end}}{{"}"}}
  # Images that each runner has from its start, like [node:22, postgres:17].
  preload: [{{range $i, $r := .Cache.Preload}}{{if $i}}, {{end}}{{q $r}}{{end}}]
  # Versions of tools that the setup actions find in each runner, like [node@22, go@1.24].
  tools: [{{range $i, $r := .Cache.Tools}}{{if $i}}, {{end}}{{q $r}}{{end}}]
  # Where the manifests of these tools are.
  toolsFrom: {{q .Cache.ToolsFrom}}

network:
  # slirp4netns, or pasta: faster down, but its uploads can stall.
  driver: {{.Network.Driver}}
  # Bytes, for the networks of the runner and its containers; 0: the driver's default.
  mtu: {{.Network.MTU}}
`))

// Write writes the file with its comments; Load reads the same Config back.
func Write(w io.Writer, c Config) error { return commented.Execute(w, c) }
