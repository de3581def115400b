package export

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/ghapi"
)

// engineFleet is a fleet for the templates of tools that start containers of a Docker Engine.
type engineFleet struct{ Fleet }

// DockerRun writes a script that starts one runner.
func DockerRun(of Fleet) (Files, error) {
	return of.onEngine(map[string]string{"README.md": "docker-run.md", "run.sh": "run.sh"})
}

// Compose writes a project with one service. Its containers are restarted, so their runners take
// many jobs, and are cleaned after each.
func Compose(of Fleet) (Files, error) {
	of.Ephemeral = false
	return of.onEngine(map[string]string{"README.md": "compose.md", "compose.yaml": "compose.yaml"})
}

// Systemd writes a unit whose instances each run one container after the other.
func Systemd(of Fleet) (Files, error) {
	return of.onEngine(map[string]string{"README.md": "systemd.md", "run.sh": "run.sh", "runnerctl-" + of.Name + "@.service": "unit.service"})
}

// Nomad writes a job that runs the script of DockerRun: Nomad's own driver for Docker can't unmask a
// container's /proc (github.com/hashicorp/nomad, issue 6720: its security_opt knows fewer words than
// docker run's).
func Nomad(of Fleet) (Files, error) {
	return of.onEngine(map[string]string{"README.md": "nomad.md", "run.sh": "run.sh", of.Name + ".nomad.hcl": "job.nomad.hcl"})
}

func (f Fleet) onEngine(names map[string]string) (Files, error) {
	names["runner.env.example"] = "runner.env.example"
	made, err := render(engineFleet{f}, names)
	if err != nil {
		return nil, err
	}
	made[seccompFile] = append(slices.Clone(f.Runner.Seccomp), '\n')
	return made, nil
}

// SecurityOptions are the words for --security-opt and its likes.
func (f engineFleet) SecurityOptions() []string {
	return []string{"seccomp=" + seccompFile, "apparmor=" + f.Runner.AppArmor, "no-new-privileges=false", "systempaths=unconfined"}
}

// Tmpfs are the words for --tmpfs and its likes.
func (f engineFleet) Tmpfs() (all []string) {
	for _, path := range slices.Sorted(maps.Keys(f.Runner.Tmpfs)) {
		all = append(all, path+":"+f.Runner.Tmpfs[path])
	}
	return all
}

// Flags are the flags of docker run, but those of the environment.
func (f engineFleet) Flags() (flags []string) {
	runner := f.Runner
	add := func(name string, values ...string) {
		for _, value := range values {
			flags = append(flags, name+" "+shellQuote(value))
		}
	}
	add("--stop-timeout", strconv.Itoa(runner.StopSeconds))
	add("--cap-drop", runner.CapDrop...)
	add("--cap-add", runner.CapAdd...)
	add("--security-opt", f.SecurityOptions()...)
	add("--network", runner.Network)
	if runner.Runtime != "" {
		add("--runtime", runner.Runtime)
	}
	add("--device", runner.Devices...)
	add("--tmpfs", f.Tmpfs()...)
	add("--volume", runner.Binds...)
	add("--cpus", strconv.FormatFloat(runner.CPUs, 'g', -1, 64))
	add("--memory", strconv.FormatInt(runner.Memory, 10))
	add("--pids-limit", strconv.FormatInt(runner.Pids, 10))
	add("--log-driver", "json-file")
	for _, name := range slices.Sorted(maps.Keys(runner.Log)) {
		add("--log-opt", name+"="+runner.Log[name])
	}
	return append(flags, "--init=false")
}

// ComposeEnv is the environment; compose would replace a variable of its own.
func (f engineFleet) ComposeEnv() map[string]string {
	all := map[string]string{}
	for _, pair := range f.Runner.Env {
		name, value, _ := strings.Cut(pair, "=")
		all[name] = strings.ReplaceAll(value, "$", "$$")
	}
	return all
}

// Contract are the variables that name the target (docs/image.md).
func (f engineFleet) Contract() []string {
	var all []string
	switch f.Target.Kind {
	case ghapi.Org:
		all = []string{"RUNNER_SCOPE=org", "ORG_NAME=" + f.Target.Owner, "GITHUB_HOST=" + f.Target.Host}
	case ghapi.Enterprise:
		all = []string{"RUNNER_SCOPE=enterprise", "ENTERPRISE_NAME=" + f.Target.Owner, "GITHUB_HOST=" + f.Target.Host}
	default:
		all = []string{"REPO_URL=" + f.URL}
	}
	all = append(all, "RUNNER_NAME_PREFIX="+f.Name, "EPHEMERAL="+strconv.FormatBool(f.Ephemeral))
	if len(f.Labels) > 0 {
		all = append(all, "LABELS="+strings.Join(f.Labels, ","))
	}
	if f.Group != "" && f.Group != "Default" && f.Target.Kind != ghapi.Repo {
		all = append(all, "RUNNER_GROUP="+f.Group)
	}
	return all
}

// MiB is a number of bytes in MiB.
func (f engineFleet) MiB(bytes int64) int64 { return bytes >> 20 }

// StopLimit is the time in seconds after which a tool may kill a runner that it stopped.
func (f engineFleet) StopLimit() int { return f.Runner.StopSeconds + 10 }

// Cores is the number of whole processors that a runner needs.
func (f engineFleet) Cores() int { return int(math.Ceil(f.Runner.CPUs)) }
