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
}).Parse(`# runnerctl.yaml: one fleet of runners. Flags go over the environment
# (RUNNERCTL_…), the environment over this file, this file over the defaults.

name: {{q .Name}}

# Where jobs come from: https://github.com/OWNER/REPO, /ORG or /enterprises/E.
# Empty: runners with Docker, but without GitHub's agent.
target: {{q .Target}}

image:
  # What jobs see: any Debian or Ubuntu image whose packages have Docker ≥ 24.
  base: {{q .Image.Base}}
  # The small tree around it that makes the user namespace; no job runs in it.
  outerBase: {{q .Image.Outer}}
  # sudo for jobs: root of their own machine, nobody on the host.
  sudo: {{.Image.Sudo}}
  # What jobs find: minimal (Docker, git and little more), standard (with the small
  # tools of GitHub's machines) or hosted (languages and clients too; docs/profiles.md).
  profile: {{.Image.Profile}}
  # Packages beyond the profile's.
  packages: [{{range $i, $p := .Image.Packages}}{{if $i}}, {{end}}{{q $p}}{{end}}]
  # Dockerfile instructions at the end of the jobs' tree.
  dockerfile: {{q .Image.Dockerfile}}
  # GitHub's own runner program, put in where there is a target. It never updates
  # itself: GitHub takes a version for about 30 days after its successor.
  agent:
    # latest, or one like 2.330.0 (then with its sha256).
    version: {{q .Image.Agent.Version}}
    # A release archive to take instead of GitHub's: a file, or a URL with its sha256.
    archive: {{q .Image.Agent.Archive}}
    sha256: {{q .Image.Agent.SHA256}}
  # docker's plugin for builds. GitHub's cache service needs 0.21 or newer, and
  # distributions have older ones.
  buildx:
    # latest or one like 0.31.1, from its releases at GitHub, and the distribution's
    # where GitHub can't be reached; distribution: that one always.
    version: {{q .Image.Buildx.Version}}
    # The program to take instead: a file, or a URL with its sha256.
    archive: {{q .Image.Buildx.Archive}}
    sha256: {{q .Image.Buildx.SHA256}}

runners:
  count: {{.Runners.Count}}
  # Started beyond these, for the supervisor to refill a place with at once.
  spares: {{.Runners.Spares}}
  # Limits of one runner, all its containers included.
  cpus: {{.Runners.CPUs}}
  memory: {{.Runners.Memory}}
  pids: {{.Runners.Pids}}
  # Size of /dev/shm (browsers need more than Docker's 64 MB).
  shm: {{.Runners.Shm}}
  # docker run with the privileged flag inside a runner, as buildx's own builders need:
  # privileged over the runner's own machine only.
  innerPrivileged: {{.Runners.InnerPrivileged}}
  # User and group ids in a runner: 65536, or 2147483648 for images whose files have ids
  # above 65535. The wide range takes ids 100000 to 2147583647 of the host, where a
  # directory service (LDAP, Active Directory) may have put people's accounts.
  idRange: {{.Runners.IDRange}}
  # A container runtime that the engine knows, like sysbox-runc; empty: its default.
  runtime: {{q .Runners.Runtime}}
  # Settings of the runners' own Docker daemons, with the keys of daemon.json, like
  # {registry-mirrors: ["https://mirror.example.com"]}. Jobs can read them: no secrets.
  dockerd: {{json .Runners.Dockerd}}
  # System calls opened to jobs: io_uring, perf (docs/hosts.md has their price).
  syscalls: [{{range $i, $w := .Runners.Syscalls}}{{if $i}}, {{end}}{{$w}}{{end}}]
  # Devices of the host given to jobs: fuse, kvm, vhost-net, vhost-vsock.
  devices: [{{range $i, $w := .Runners.Devices}}{{if $i}}, {{end}}{{$w}}{{end}}]
  # Variables of jobs and of exec. No place for secrets: whoever may use the engine reads them.
  env: { {{- range $name, $value := .Runners.Env}}{{$name}}: {{q $value}}, {{end -}} }
  # The way out of runners, for their daemon, agent, jobs and builds: URLs, and the hosts
  # that are reached without. The runner itself and its own networks always are.
  proxy: {http: {{q .Runners.Proxy.HTTP}}, https: {{q .Runners.Proxy.HTTPS}}, noProxy: [{{range $i, $h := .Runners.Proxy.NoProxy}}{{if $i}}, {{end}}{{q $h}}{{end}}]}
  # How long a runner's Docker daemon may take to answer.
  readyTimeout: {{.Runners.ReadyTimeout}}

# Machines with a Docker Engine; none: the one that docker itself uses. Each has a
# name, an address (a docker context's name, ssh://user@vm, tcp:// with TLS, unix://)
# and a count of runners (default: runners.count).
hosts: [{{range $i, $h := .Hosts}}{{if $i}}, {{end}}{name: {{q $h.Name}}, address: {{q $h.Address}}{{with $h.Count}}, count: {{.}}{{end}}}{{end}}]

network:
  # slirp4netns, or pasta: faster down, but its uploads can stall.
  driver: {{.Network.Driver}}
  # Bytes, of the runner's and its containers' networks; 0: what suits the driver.
  mtu: {{.Network.MTU}}
`))

// Write writes the file with its comments; Load reads the same Config back.
func Write(w io.Writer, c Config) error { return commented.Execute(w, c) }
