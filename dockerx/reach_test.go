package dockerx

import (
	"errors"
	"strings"
	"testing"

	"github.com/docker/docker/client"
)

// Errors of ssh and the client, and the messages for an operator.
func TestExplain(t *testing.T) {
	const ssh = "command [ssh -T -- vm docker system dial-stdio] has exited with exit status 255, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr="
	tests := []struct{ host, said, problem, hint string }{
		{"ssh://ci@vm:2222", ssh + "Host key verification failed.\r\n", "its host key is unknown", "ssh -p 2222 ci@vm true shows"},
		{"ssh://vm", ssh + "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending ED25519 key in /home/me/.ssh/known_hosts:1\nHost key verification failed.\n", "its host key differs", "ssh-keygen -R 'vm'"},
		{"ssh://vm:22", ssh + "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "its host key differs", "ssh-keygen -R '[vm]:22'"},
		{"ssh://ci@vm", ssh + "ci@vm: Permission denied (publickey).", "the ssh login is refused", "ssh ci@vm true must succeed without a prompt"},
		{"ssh://vm", ssh + "sh: 1: docker: not found", "it has no docker command", "runnerctl host prepare ssh://vm"},
		{"ssh://vm", ssh + "bash: line 1: docker: command not found", "it has no docker command", "host prepare"},
		{"ssh://ci@vm", ssh + "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock", "the login may not open the engine's socket", "usermod -aG docker ci"},
		{"ssh://vm", ssh + "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "its Docker Engine is not running", "systemctl enable --now docker"},
		{"ssh://vm", ssh + "failed to open the raw stream connection: dial unix /nosuch.sock: connect: no such file or directory", "its Docker Engine is not running", "systemctl"},
		{"ssh://ci@vm", ssh + "failed to open the raw stream connection: dial unix /var/run/docker.sock: connect: permission denied", "the login may not open the engine's socket", "usermod -aG docker ci"},
		{"ssh://vm", ssh + "ssh: Could not resolve hostname vm: Name or service not known", "its name can't be resolved", "spelling"},
		{"ssh://vm", ssh + "ssh: connect to host vm port 22: Connection timed out", "it does not answer", "firewall"},
		{"ssh://vm", ssh + "Timeout, server vm not responding.", "the connection was lost", "check that the machine is up"},
		{"ssh://vm", ssh + "something new", "ssh failed", ""},
		{"tcp://vm:2376", "dial tcp 10.0.0.1:2376: connect: connection refused", "nothing listens at that address", "check that the machine is up"},
		{"tcp://vm:2376", "tls: failed to verify certificate: x509: certificate signed by unknown authority", "its certificate is not trusted", "ca.pem"},
		{"tcp://vm:2376", "tls: first record does not look like a TLS handshake", "it does not use TLS", "dockerd --tlsverify"},
		{"tcp://vm:2376", "strange", "it can't be reached: strange", ""},
	}
	for _, test := range tests {
		err := explain(Endpoint{Name: "box", Host: test.host}, errors.New(test.said))
		var failure *HostError
		if !errors.As(err, &failure) || !strings.HasPrefix(err.Error(), "host box: "+test.problem) || !strings.Contains(failure.Hint(), test.hint) || test.hint == "" && failure.Hint() != "" {
			t.Errorf("%s: %v, hint %q, want %q, hint %q", test.said, err, failure.Hint(), "host box: "+test.problem, test.hint)
		}
		for _, line := range failure.Last() {
			if !strings.Contains(test.said, line) || strings.Contains(line, "@@") {
				t.Errorf("%s: line %q, want a line of it", test.said, line)
			}
		}
		if said := strings.HasPrefix(test.said, ssh); said == (len(failure.Last()) == 0) {
			t.Errorf("%s: ssh's own words: %q, want some only if it spoke", test.said, failure.Last())
		}
	}
}

func TestResolve(t *testing.T) {
	env := func(string) string { return "" }
	for address, want := range map[string]string{
		"default":              client.DefaultDockerHost,
		"unix:///x.sock":       "unix:///x.sock",
		"ssh://ci@vm:2222":     "ssh://ci@vm:2222",
		"tcp://127.0.0.1:2375": "tcp://127.0.0.1:2375",
		"tcp://localhost:1":    "tcp://localhost:1",
	} {
		if got, err := Resolve(env, address); err != nil || got.Host != want {
			t.Errorf("%s: %+v, %v, want %s", address, got, err, want)
		}
	}
	for address, want := range map[string]string{
		"tcp://10.0.0.1:2375": "without TLS",
		"http://vm":           "expected ssh://, tcp:// or unix://",
		"ssh://ci:secret@vm":  "password is not supported",
		"nosuch-context":      `docker context "nosuch-context" does not exist`,
	} {
		if got, err := Resolve(env, address); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ssh://ci:secret") {
			t.Errorf("%s: %+v, %v, want the error %q, without the password", address, got, err, want)
		}
	}
}
