package dockerx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	clicontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"
)

// Endpoint is the address of an engine.
type Endpoint struct {
	Name string // "local", the docker context's name, or the operator's name for it
	Host string // unix://, tcp://, ssh://…

	tls *tls.Config // of tcp://; nil where none is used
}

// Local reports whether the engine runs on this machine.
func (e Endpoint) Local() bool {
	return strings.HasPrefix(e.Host, "unix://") || strings.HasPrefix(e.Host, "npipe://")
}

// FindEndpoint chooses like the docker CLI: DOCKER_HOST, then DOCKER_CONTEXT,
// then the current context of the CLI's configuration, then the default socket.
func FindEndpoint(env func(string) string) (Endpoint, error) {
	if host := env("DOCKER_HOST"); host != "" {
		name := "local"
		if !strings.HasPrefix(host, "unix://") {
			name = host
		}
		certificates, err := certificatesOf(env, host, env("DOCKER_TLS_VERIFY") != "")
		return Endpoint{Name: name, Host: host, tls: certificates}, err
	}
	name := env("DOCKER_CONTEXT")
	if name == "" {
		file, err := config.Load(env("DOCKER_CONFIG"))
		if err != nil {
			return Endpoint{}, fmt.Errorf("docker's own configuration: %w", err)
		}
		name = file.CurrentContext
	}
	if name == "" {
		name = "default"
	}
	return contextEndpoint(name)
}

// Resolve parses an address from an operator: a URL, or the name of a docker context. tcp://
// takes its certificates from DOCKER_CERT_PATH.
func Resolve(env func(string) string, address string) (Endpoint, error) {
	scheme, _, isURL := strings.Cut(address, "://")
	switch {
	case !isURL:
		return contextEndpoint(address)
	case scheme == "unix" || scheme == "npipe":
		return Endpoint{Name: "local", Host: address}, nil
	case scheme == "ssh":
		_, err := helperOf(address)
		return Endpoint{Name: address, Host: address}, err
	case scheme != "tcp":
		return Endpoint{}, fmt.Errorf("host %s: expected ssh://, tcp:// or unix://, or a docker context's name", address)
	}
	certificates, err := certificatesOf(env, address, true)
	if err == nil && certificates == nil && !loopback(address) {
		err = &addressError{
			fmt.Sprintf("host %s: tcp:// without TLS: anyone who reaches that port is root on that machine", address),
			"ssh:// needs no setup; for TLS, set DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem, or name a docker context that has them",
		}
	}
	return Endpoint{Name: address, Host: address, tls: certificates}, err
}

// addressError means that an address leads to no engine, or may not be used.
type addressError struct{ problem, advice string }

func (e *addressError) Error() string { return e.problem }

// Hint returns advice for the user.
func (e *addressError) Hint() string { return e.advice }

// loopback reports whether an address is only reachable from this machine, like a tunnel's
// end.
func loopback(address string) bool {
	at, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(at.Hostname())
	return at.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// certificatesOf reads the certificates in DOCKER_CERT_PATH for a tcp:// address.
func certificatesOf(env func(string) string, host string, verify bool) (*tls.Config, error) {
	dir := env("DOCKER_CERT_PATH")
	if dir == "" || !strings.HasPrefix(host, "tcp://") {
		return nil, nil
	}
	certificates, err := tlsconfig.Client(tlsconfig.Options{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		InsecureSkipVerify: !verify, ExclusiveRootPools: true,
	})
	if err != nil {
		return nil, fmt.Errorf("DOCKER_CERT_PATH %s: %w", dir, err)
	}
	return certificates, nil
}

// contextEndpoint returns the endpoint of a docker context, including its certificates.
func contextEndpoint(name string) (Endpoint, error) {
	if name == "default" {
		return Endpoint{Name: "local", Host: client.DefaultDockerHost}, nil
	}
	contexts := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(clicontext.DockerEndpoint, func() any { return &clicontext.EndpointMeta{} }),
	))
	metadata, err := contexts.GetMetadata(name)
	if cerrdefs.IsNotFound(err) {
		return Endpoint{}, &addressError{fmt.Sprintf("docker context %q does not exist", name), "docker context ls lists them; an address begins with ssh://, tcp:// or unix://"}
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("docker context %q: %w", name, err)
	}
	meta, err := clicontext.EndpointFromContext(metadata)
	if err != nil {
		return Endpoint{}, fmt.Errorf("docker context %q: %w", name, err)
	}
	endpoint := Endpoint{Name: name, Host: meta.Host}
	if strings.HasPrefix(meta.Host, "tcp://") {
		if endpoint.tls, err = contextTLS(contexts, name, meta); err != nil {
			return Endpoint{}, fmt.Errorf("docker context %q: TLS: %w", name, err)
		}
	}
	return endpoint, nil
}

// contextTLS reads a context's own certificates; it returns nil if there are none.
func contextTLS(contexts store.Reader, name string, meta clicontext.EndpointMeta) (*tls.Config, error) {
	full, err := clicontext.WithTLSData(contexts, name, meta)
	if err != nil || full.TLSData == nil && !meta.SkipTLSVerify {
		return nil, err
	}
	certificates := tlsconfig.ClientDefault(func(c *tls.Config) { c.InsecureSkipVerify = meta.SkipTLSVerify })
	if full.TLSData == nil {
		return certificates, nil
	}
	if full.TLSData.CA != nil {
		certificates.RootCAs = x509.NewCertPool()
		if !certificates.RootCAs.AppendCertsFromPEM(full.TLSData.CA) {
			return nil, errors.New("ca.pem holds no certificate")
		}
	}
	if full.TLSData.Cert != nil {
		own, err := tls.X509KeyPair(full.TLSData.Cert, full.TLSData.Key)
		if err != nil {
			return nil, fmt.Errorf("cert.pem and key.pem: %w", err)
		}
		certificates.Certificates = []tls.Certificate{own}
	}
	return certificates, nil
}

// helperOf returns a helper that runs the user's own ssh, which knows their keys and hosts;
// nil for other addresses. sshLimits end ssh when the host stops answering.
func helperOf(address string) (*connhelper.ConnectionHelper, error) {
	helper, err := connhelper.GetConnectionHelperWithSSHOpts(address, sshLimits)
	if at, bad := url.Parse(address); err != nil && bad == nil {
		err = fmt.Errorf("host %s: %w", at.Redacted(), err)
	}
	return helper, err
}

// Connect creates the client of an engine. It sends nothing yet.
func Connect(endpoint Endpoint) (*Engine, error) {
	transport := &http.Transport{}
	own := &http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}
	if _, err := client.ParseHostURL(endpoint.Host); err != nil {
		return nil, &addressError{fmt.Sprintf("engine %s: not an address", endpoint.Host), "DOCKER_HOST accepts unix:///path, ssh://user@host or tcp://host:port; --host also accepts the name of a docker context"}
	}
	options := []client.Opt{client.WithAPIVersionNegotiation(), client.WithHTTPClient(own)}
	helper, err := helperOf(endpoint.Host)
	switch {
	case err != nil:
		return nil, err
	case helper != nil:
		options = append(options, client.WithHost(helper.Host), client.WithDialContext(newWire(endpoint, helper).connect))
	case endpoint.Local():
		options = append(options, client.WithHost(endpoint.Host))
	default:
		options = append(options, client.WithHost(endpoint.Host), client.WithDialContext(newWire(endpoint, nil).connect))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", endpoint.Host, err)
	}
	if !endpoint.Local() {
		transport.Proxy = nil // streams can't pass through a proxy
		own.Transport = newPatient(own.Transport, endpoint)
	}
	return &Engine{api: api, host: endpoint.Name, away: !endpoint.Local()}, nil
}
