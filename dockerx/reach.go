package dockerx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits for a host that does not answer, or stops answering: the user learns about it within
// 15 seconds.
const (
	dialLimit   = 10 * time.Second
	answerLimit = 12 * time.Second // for the first answer, including dialling
)

var sshLimits = []string{"-o ConnectTimeout=10", "-o ServerAliveInterval=4", "-o ServerAliveCountMax=2"}

var tcpDialer = net.Dialer{
	Timeout:         dialLimit,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 3 * time.Second, Count: 3},
	Control:         limitSilence,
}

// HostError means that a remote engine can't be reached. Its text is for the person who can
// fix that.
type HostError struct {
	Name    string // of the host
	Problem string
	lines   []string // ssh's output
	advice  string
	err     error
}

func (e *HostError) Error() string { return "host " + e.Name + ": " + e.Problem }

// Last returns ssh's output.
func (e *HostError) Last() []string { return e.lines }

// Hint returns advice for the user.
func (e *HostError) Hint() string { return e.advice }

// Unwrap returns the client's own error.
func (e *HostError) Unwrap() error { return e.err }

// errSilent is the cancellation cause of a request that got no answer in time.
var errSilent = fmt.Errorf("no answer within %s", answerLimit)

// patient is the transport to a remote engine. It limits the wait for the first answer, and
// explains why the engine can't be reached.
type patient struct {
	next     http.RoundTripper
	endpoint Endpoint
	answered atomic.Bool
	first    sync.Mutex // held by the first request
	failed   error      // of the last attempt, which failed at when
	when     time.Time
}

func newPatient(next http.RoundTripper, endpoint Endpoint) *patient {
	return &patient{next: next, endpoint: endpoint}
}

// again is how long a failure also answers the next requests: the client asks for the
// engine's version before each call, and goes on if that fails.
const again = time.Second

func (p *patient) RoundTrip(request *http.Request) (*http.Response, error) {
	if p.answered.Load() {
		response, err := p.next.RoundTrip(request)
		return response, p.explained(request, err)
	}
	p.first.Lock()
	defer p.first.Unlock()
	if p.failed != nil && time.Since(p.when) < again {
		return nil, p.failed
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	timer := time.AfterFunc(answerLimit, func() { cancel(errSilent) })
	response, err := p.next.RoundTrip(request.WithContext(ctx))
	if timer.Stop(); err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		cancel(nil)
		err = p.explained(request, err)
		p.failed, p.when = err, time.Now()
		return nil, err
	}
	p.answered.Store(true)
	response.Body = &cancelled{response.Body, cancel}
	return response, nil
}

// cancelled is a response body that cancels its context when it is closed.
type cancelled struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (c *cancelled) Close() error {
	defer c.cancel(nil)
	return c.ReadCloser.Close()
}

func (p *patient) explained(request *http.Request, err error) error {
	if err == nil || request.Context().Err() != nil {
		return err
	}
	return explain(p.endpoint, err)
}

// saidBySSH matches ssh's output in an error of docker's ssh connection.
var saidBySSH = regexp.MustCompile(`(?s)stderr="?(.*)`)

// symptoms explains messages of ssh, of docker's client on the remote host, and of the
// system. The first match is used.
var symptoms = []struct{ sign, problem, advice string }{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key differs from the key that this machine trusts",
		"if that machine was reinstalled, ssh-keygen -R '{key}' removes the old key, and {ssh} true shows the new key and asks whether to trust it; otherwise, another machine may be answering in its place"},
	{"Host key verification failed", "its host key is unknown", "{ssh} true shows the key's fingerprint and asks whether to trust it; ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on that machine prints the correct one"},
	{"permission denied while trying to connect to the", "the login may not open the engine's socket", "on that machine, as root: usermod -aG docker {user} (members of that group are root on that machine)"},
	{"connect: permission denied", "the login may not open the engine's socket", "on that machine, as root: usermod -aG docker {user} (members of that group are root on that machine)"},
	{"Permission denied", "the ssh login is refused", "{ssh} true must succeed without a prompt: load a key into the agent or name it in ~/.ssh/config, and add its public key to ~/.ssh/authorized_keys on that machine"},
	{"Too many authentication failures", "the ssh login is refused", "name the key in ~/.ssh/config, with IdentitiesOnly yes"},
	{"docker: not found", "it has no docker command", "runnerctl host prepare {host} installs the Docker Engine there"},
	{"docker: command not found", "it has no docker command", "runnerctl host prepare {host} installs the Docker Engine there"},
	{"failed to open the raw stream connection", "its Docker Engine is not running", "on that machine, as root: systemctl enable --now docker"},
	{"Is the docker daemon running", "its Docker Engine is not running", "on that machine, as root: systemctl enable --now docker"},
	{"Could not resolve hostname", "its name can't be resolved", "check the spelling; {ssh} true shows the same error"},
	{"no such host", "its name can't be resolved", "check the spelling"},
	{"onnection refused", "nothing listens at that address", "check that the machine is up and that the port is correct"},
	{"x509:", "its certificate is not trusted", "ca.pem, in DOCKER_CERT_PATH or in the docker context, must be the authority that signed the engine's certificate, and that certificate must name this address"},
	{"remote error: tls:", "it refuses this client's certificate", "cert.pem and key.pem, in DOCKER_CERT_PATH or in the docker context, must be signed by the authority that the engine trusts"},
	{"does not look like a TLS handshake", "it does not use TLS", "dockerd --tlsverify turns it on; ssh:// needs no setup"},
	{"no answer within", "no answer within " + answerLimit.String(), "check that the machine is up and that no firewall drops the packets"},
	{"not responding", "the connection was lost: it no longer answers", "check that the machine is up and reachable"},
	{"timed out", "it does not answer", "check that the machine is up and that no firewall drops the packets"},
	{"i/o timeout", "it does not answer", "check that the machine is up and that no firewall drops the packets"},
	{"o route to host", "no route to it", "check that the machine and this machine's network are up"},
	{"etwork is unreachable", "no route to it", "check that this machine's network is up"},
}

// explain turns an endpoint's error into a HostError with the cause.
func explain(endpoint Endpoint, err error) error {
	var known *HostError
	if errors.As(err, &known) {
		return err
	}
	failure := &HostError{Name: endpoint.Name, Problem: "it can't be reached: " + err.Error(), err: err}
	text := err.Error()
	if said := saidBySSH.FindStringSubmatch(text); said != nil {
		failure.Problem = "ssh failed"
		text = strings.TrimSuffix(strings.TrimSpace(said[1]), `"`)
		for line := range strings.Lines(text) {
			if line = strings.Trim(line, "@ \r\n"); line != "" {
				failure.lines = append(failure.lines, line)
			}
		}
	}
	for _, one := range symptoms {
		if strings.Contains(text, one.sign) {
			failure.Problem, failure.advice = one.problem, filled(one.advice, endpoint.Host)
			break
		}
	}
	return failure
}

// filled puts an address into advice: {host} is the whole address, {ssh} the command line
// that logs in there, {key} the host's name in known_hosts, {user} the login.
func filled(advice, address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return advice
	}
	ssh, key, user := "ssh ", at.Hostname(), at.User.Username()
	if at.Port() != "" {
		ssh += "-p " + at.Port() + " "
		key = "[" + key + "]:" + at.Port()
	}
	if user != "" {
		ssh += user + "@"
	} else {
		user = "USER"
	}
	return strings.NewReplacer("{host}", address, "{ssh}", ssh+at.Hostname(), "{key}", key, "{user}", user).Replace(advice)
}
