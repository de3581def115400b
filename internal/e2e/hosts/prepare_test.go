//go:build linux

package hosts

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/prepare"
	"github.com/runnerctl/runnerctl/scripts"
)

func preparing(t *testing.T) string {
	t.Helper()
	script, err := prepare.Script()
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// state prints everything but files that prepare may change on a machine.
const state = `stat -c '%n %a' /dev/net/tun; sysctl -a 2>/dev/null | grep -E 'user_namespaces|inotify|keys|pipe-user|max_map_count'; for filter in iptables ip6tables; do $filter -S DOCKER-USER 2>&1 || true; done`

// The plan changes nothing, the changes are those planned, and a second run has nothing to
// do. --allow-metadata reverts its part.
func TestPrepareScript(t *testing.T) {
	m := enginetest.StartMachine(t)
	m.Must(t, "chmod 0600 /dev/net/tun; iptables -N DOCKER-USER; ip6tables -N DOCKER-USER")
	script := preparing(t)
	before, written := m.Must(t, state), m.Written(t)
	plan := m.Must(t, script, "--plan")
	if after := m.Must(t, state); after != before || !slices.Equal(m.Written(t), written) {
		t.Errorf("after the plan: written %v, state\n%s\nwant %v and\n%s", m.Written(t), after, written, before)
	}
	for _, want := range []string{
		"open /dev/net/tun to every user", "set user.max_user_namespaces to 28633 (it is 1000)", "set fs.inotify.max_user_instances to 8192 (it is 128)",
		"set kernel.keys.maxkeys to 2000 (it is 200)", "block the cloud's metadata service for containers",
	} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %q in the plan:\n%s", want, plan)
		}
	}
	if strings.Contains(plan, "install") {
		t.Errorf("plan:\n%s\nwant no install: Docker is there", plan)
	}
	if done := m.Must(t, script, "--apply"); done != plan {
		t.Errorf("planned:\n%s\ndone:\n%s\nwant the same", plan, done)
	}
	prepared := m.Must(t, state)
	for _, want := range []string{
		"/dev/net/tun 666", "user.max_user_namespaces = 28633", "fs.inotify.max_user_instances = 8192", "vm.max_map_count = 262144", "fs.pipe-user-pages-soft = 160000",
		"-d 169.254.169.254/32 -j REJECT", "-d fd00:ec2::254/128 -j REJECT",
	} {
		if strings.Count(prepared, want) != 1 {
			t.Errorf("not once: %q in\n%s", want, prepared)
		}
	}
	lasting := m.Must(t, "cat /etc/sysctl.d/60-runnerctl-* /etc/tmpfiles.d/runnerctl.conf")
	if !strings.Contains(lasting, "user.max_user_namespaces = 28633\n") || !strings.Contains(lasting, "z /dev/net/tun 0666\n") {
		t.Errorf("after a boot:\n%s\nwant 28633 namespaces, and mode 0666 of /dev/net/tun", lasting)
	}
	// Docker's own unit belongs to another package.
	m.Must(t, "printf '[Service]\nExecStart=/bin/true\n' >/etc/systemd/system/docker.service; systemd-analyze verify /etc/systemd/system/runnerctl-metadata.service 2>&1")

	files := m.Written(t)
	for _, mode := range []string{"--plan", "--apply"} {
		if again := m.Must(t, script, mode); again != "" || m.Must(t, state) != prepared || !slices.Equal(m.Written(t), files) {
			t.Errorf("%s again: %q, want nothing, and no change", mode, again)
		}
	}
	m.Must(t, "/usr/local/sbin/runnerctl-block-metadata") // as the unit does at each start of the engine
	if after := m.Must(t, state); after != prepared {
		t.Errorf("rules twice:\n%s\nwant\n%s", after, prepared)
	}
	if allowed := m.Must(t, script, "--apply", "--allow-metadata"); allowed != "let containers reach the cloud's metadata service again\n" {
		t.Errorf("got %q, want %q", allowed, "let containers reach the cloud's metadata service again\n")
	}
	if after := m.Must(t, state); strings.Contains(after, "REJECT") || strings.Contains(strings.Join(m.Written(t), " "), "metadata") {
		t.Errorf("left: %v\n%s", m.Written(t), after)
	}
	if again := m.Must(t, script, "--plan", "--allow-metadata"); again != "" {
		t.Errorf("got %q, want nothing", again)
	}
}

// distributions are the programs that a machine of each distribution lacks at first, and the
// packages that the plan installs.
var distributions = []struct{ id, version, lacks, install string }{
	{"debian", "12", "docker dockerd", "docker.io"},
	{"debian", "13", "docker dockerd iptables", "docker.io iptables docker-cli"},
	{"ubuntu", "22.04", "docker dockerd", "docker.io"},
	{"ubuntu", "24.04", "docker dockerd", "docker.io"},
	{"amzn", "2023", "docker dockerd iptables apt-get", "docker iptables-nft"},
}

// becomes makes a machine look like one of a distribution. There is no network: the package
// manager and systemd are stand-ins that record their calls.
const becomes = `
id=$1 version=$2; shift 2
rm /etc/os-release; printf 'ID=%s\nVERSION_ID="%s"\n' "$id" "$version" >/etc/os-release
for program; do rm -f "/usr/sbin/$program" "/usr/bin/$program" "/usr/local/bin/$program"; done
! id 1000 >/dev/null 2>&1 || userdel "$(id -nu 1000)"
useradd --uid 1000 admin
cat >/usr/bin/manager <<'END'
#!/bin/sh
echo "${0##*/} $*" >>/calls
case $* in *install*)
	groupadd -f docker
	for program in docker dockerd iptables; do
		command -v $program >/dev/null || { printf '#!/bin/sh\n' >/usr/sbin/$program && chmod +x /usr/sbin/$program; }
	done ;;
esac
END
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
echo "systemctl $*" >>/calls
for unit; do :; done
case $1 in
is-*) [ -e "/run/$unit.enabled" ] ;;
enable) touch "/run/$unit.enabled" ;;
esac
END
chmod +x /usr/bin/manager; mkdir -p /run/systemd/system
if [ "$id" = amzn ]; then mv /usr/bin/manager /usr/bin/dnf; else mv /usr/bin/manager /usr/bin/apt-get; fi
`

// The user-data turns a fresh machine of each distribution into a host, once.
func TestCloudInit(t *testing.T) {
	t.Chdir(t.TempDir())
	data := e2e.Must(t, "host", "cloud-init")
	// cloud-init runs user-data with this first line as a script. Providers limit its size
	// (EC2).
	if !strings.HasPrefix(data, "#!/bin/sh\n") || len(data) > 16<<10 {
		t.Errorf("%d bytes, begins %.20q, want 16 KiB at most, and #!/bin/sh", len(data), data)
	}
	for _, name := range []string{"prepare", "block-metadata", "runnerctl-runner", "runnerctl-metadata.service"} {
		if text, err := scripts.Host.ReadFile("host/" + name); err != nil || !strings.Contains(data, string(text)) {
			t.Errorf("%s is not in it: %v", name, err)
		}
	}
	for _, one := range distributions {
		t.Run(one.id+" "+one.version, func(t *testing.T) {
			m := enginetest.StartMachine(t)
			m.Must(t, becomes, append([]string{one.id, one.version}, strings.Fields(one.lacks)...)...)
			said := m.Must(t, data)
			for _, want := range []string{"install " + one.install + "\n", "start the Docker Engine", "add admin to the group docker"} {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in\n%s", want, said)
				}
			}
			calls := m.Must(t, "cat /calls; id -nG admin")
			for _, want := range []string{"install", " " + one.install + "\n", "systemctl enable -q --now docker\n", "systemctl enable -q --now runnerctl-metadata\n", "admin docker\n"} {
				if !strings.Contains(calls, want) {
					t.Errorf("no %q in\n%s", want, calls)
				}
			}
			if again := m.Must(t, data); again != "" {
				t.Errorf("again:\n%s\nwant nothing", again)
			}
		})
	}
	t.Run("others", func(t *testing.T) {
		m := enginetest.StartMachine(t)
		for system, want := range map[string]string{
			"amzn 2":      "runners need kernel 5.11 or newer. Use Amazon Linux 2023",
			"alpine 3.20": "alpine is not a known distribution: install the Docker Engine (20.10 or newer) by hand",
		} {
			m.Must(t, becomes, append(strings.Fields(system), "dockerd")...)
			written := m.Written(t)
			if out, err := m.Run(data); err == nil || !strings.Contains(err.Error(), want) || !slices.Equal(m.Written(t), written) {
				t.Errorf("%s: %s%v, want %q, and nothing written", system, out, err, want)
			}
		}
	})
}

// withMetadata starts a machine whose containers find a service at the address of clouds'
// metadata services. All of it is inside that machine. Its image "bash" holds only bash.
func withMetadata(t *testing.T) (*enginetest.Machine, *client.Client) {
	t.Helper()
	m := enginetest.StartMachine(t)
	api := m.StartEngine(t, nil)
	tree, err := exec.Command("sh", "-c", `cd / && tar -ch bin/bash $(ldd /bin/bash | grep -o '/[^ ]*' | sed 's,^/,,')`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := enginetest.ImportImage(t.Context(), api, "bash", bytes.NewReader(tree)); err != nil {
		t.Fatal(err)
	}
	m.Must(t, `
		ip netns add cloud
		ip link add meta type veth peer name meta netns cloud
		ip address add 169.254.169.253/30 dev meta && ip link set meta up
		ip -n cloud address add 169.254.169.254/30 dev meta && ip -n cloud link set meta up && ip -n cloud route add default via 169.254.169.253
		ip netns exec cloud perl -MIO::Socket::INET -e '
			$listener = IO::Socket::INET->new(Listen => 5, LocalAddr => "0.0.0.0:80") or die;
			exit if fork;
			close STDOUT; close STDERR;
			while ($client = $listener->accept) { print $client "the machine'"'"'s identity\n"; close $client }'`)
	return m, api
}

// A job that reaches the metadata service gets the machine's identity.
func TestMetadataIsBlocked(t *testing.T) {
	m, api := withMetadata(t)
	const ask = `read -r line </dev/tcp/169.254.169.254/80 && [ "$line" = "the machine's identity" ]`
	reached := func() bool {
		t.Helper()
		id := e2e.StartAlone(t, api, &container.Config{Image: "bash", Cmd: []string{"/bin/bash", "-c", ask}}, nil)
		return e2e.AwaitEnd(t, api, id) == 0
	}
	if !reached() {
		t.Fatal("the canary can't be seen: this test shows nothing")
	}
	m.Must(t, preparing(t), "--apply", "--allow-metadata")
	if !reached() {
		t.Error("with --allow-metadata the canary is not reached, want it reached")
	}
	m.Must(t, preparing(t), "--apply")
	if reached() {
		t.Error("a container reaches the canary, want it forbidden")
	}
	m.Must(t, `exec bash -c "$1"`, ask) // the machine itself still reaches it
	m.Must(t, preparing(t), "--apply", "--allow-metadata")
	if !reached() {
		t.Error("the canary is not reached, want it allowed again")
	}
}

// Through the operator's own ssh: the plan, and the obstacles. The full run is a long test
// (TestHostIsPrepared).
func TestHostPrepare(t *testing.T) {
	t.Chdir(t.TempDir())
	m := enginetest.StartMachine(t)
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: m})
	line := []string{"host", "prepare", host.Address}
	before, written := m.Must(t, state), m.Written(t)
	code, stdout, stderr := e2e.Runnerctl(t.Context(), append(line, "--dry-run")...)
	if plan := m.Must(t, preparing(t), "--plan"); code != 0 || stdout != "" || stderr != willDo(plan) {
		t.Errorf("exit code %d, want 0; stdout %q, want none; stderr:\n%s\nwant\n%s", code, stdout, stderr, willDo(plan))
	}
	if m.Must(t, state) != before || !slices.Equal(m.Written(t), written) {
		t.Errorf("--dry-run changed something: %v, want %v", m.Written(t), written)
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), line...); code != commands.ExitUsage || !strings.Contains(stderr, "no terminal for the confirmation: use --yes, or --dry-run") || m.Must(t, state) != before {
		t.Errorf("unasked: exit code %d, want %d; stderr:\n%s\nwant %q, and no change", code, commands.ExitUsage, stderr, "no terminal for the confirmation: use --yes, or --dry-run")
	}

	for trusted, want := range map[string][]string{
		"":      {"its host key is unknown", "hint   ssh -p ", "shows the key's fingerprint and asks"},
		"other": {"its host key differs from the key that this machine trusts", "ssh-keygen -R '[" + m.Address + "]:"},
	} {
		host.Know(t, trusted)
		refused(t, append(line, "--yes"), want...)
	}
	host.Know(t, "host")
	if m.Must(t, state) != before {
		t.Error("a machine that is not trusted was changed")
	}

	m.Must(t, "rm /usr/local/bin/docker /usr/bin/docker /usr/sbin/dockerd 2>/dev/null || true")
	refused(t, []string{"ps", "--host", host.Address}, "it has no docker command", "runnerctl host prepare "+host.Address)
	if code, _, stderr := e2e.Runnerctl(t.Context(), append(line, "--dry-run")...); code != 0 || !strings.Contains(stderr, "will install docker.io") {
		t.Errorf("without Docker: exit code %d, want 0; stderr:\n%s\nwant %q", code, stderr, "will install docker.io")
	}
}

func willDo(plan string) string {
	var lines bytes.Buffer
	for line := range strings.Lines(plan) {
		lines.WriteString("will " + line)
	}
	return lines.String()
}
