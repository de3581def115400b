//go:build linux && long

package machine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// All traffic of a runner goes out through the settings' proxy: steps, sudo, apt, containers,
// builds and the daemon. The runner itself and its containers are reached without it.
func TestRunnersProxy(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	proxy := newForwardProxy(t)
	image := "registry.outside.test/image"
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("runners: {env: {OWN: value}, proxy: {http: %q, https: %[1]q, noProxy: [direct.outside.test]}}", proxy.address))
	// The test's own needs from the distribution come by the route that exists without the
	// proxy.
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name
	script := func(text string) (string, string) {
		t.Helper()
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-euc", "export DOCKER_BUILDKIT=1\n"+e2e.Prelude+text)
		if code != 0 {
			t.Fatalf("%s\nexit code %d, want 0\n%s%s", text, code, stdout, stderr)
		}
		return stdout, stderr
	}
	script(`(unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; busybox_image)`)
	for host, text := range map[string]string{
		"step":      `expect "through the proxy" curl -fsS http://step.outside.test/`,
		"sudo":      `expect "through the proxy" sudo curl -fsS http://sudo.outside.test/`,
		"apt":       `echo "deb http://apt.outside.test/debian x main" >/tmp/list; sudo apt-get -o Acquire::Retries=0 -o Dir::Etc::sourcelist=/tmp/list -o Dir::Etc::sourceparts=- -o Dir::State::lists=/tmp update || true`,
		"container": `expect "through the proxy" docker run --rm bb wget -qO- http://container.outside.test/`,
		"root":      `expect "through the proxy" sudo docker run --rm bb wget -qO- http://root.outside.test/`,
		"build":     `printf 'FROM bb\nRUN wget -qO- http://build.outside.test/\n' | docker build --no-cache --progress plain - 2>&1`,
	} {
		script(text)
		if want := "GET " + host + ".outside.test"; !slices.Contains(proxy.hosts(), want) {
			t.Errorf("%s: the proxy was asked for %q", want, proxy.hosts())
		}
	}
	script(`! docker pull ` + image + ` >/dev/null 2>&1; ! curl -sS https://tls.outside.test/ >/dev/null 2>&1`)
	for _, want := range []string{"CONNECT registry.outside.test:443", "CONNECT tls.outside.test:443"} {
		if !slices.Contains(proxy.hosts(), want) {
			t.Errorf("%s: the proxy was asked for %q", want, proxy.hosts())
		}
	}

	before := len(proxy.hosts())
	script(`docker network create own >/dev/null; docker run -d --name web --network own -p 8080:80 bb sh -c 'mkdir /w && echo inside >/w/index.html && exec httpd -f -h /w'
		for try in 1 2 3 4 5 6 7 8 9; do ! curl -fs http://localhost:8080/ >/dev/null || break; sleep 0.3; done
		expect inside curl -fsS http://localhost:8080/; expect inside curl -fsS http://127.0.0.1:8080/
		expect inside curl -fsS "http://$(docker inspect --format '{{.NetworkSettings.Networks.own.IPAddress}}' web)/"
		expect localhost docker exec web sh -c 'echo $no_proxy'; docker version >/dev/null; ! curl -sS http://direct.outside.test/ >/dev/null 2>&1`)
	if got := proxy.hosts()[before:]; len(got) > 0 {
		t.Errorf("what is near went through the proxy: %q, want nothing", got)
	}
	if out, _ := script(`echo "$OWN"; jq -c '.proxies.default | keys' ~/.docker/config.json`); out != "value\n[\"httpProxy\",\"httpsProxy\",\"noProxy\"]\n" {
		t.Errorf("got %q, want %q", out, "value\n[\"httpProxy\",\"httpsProxy\",\"noProxy\"]\n")
	}
}

// forwardProxy is an HTTP proxy on the bridge. It answers for every host under .outside.test,
// which no resolver knows, and records the requested hosts.
type forwardProxy struct {
	address string
	mutex   sync.Mutex
	asked   []string // "GET host" or "CONNECT host:port"
}

func newForwardProxy(t *testing.T) *forwardProxy {
	t.Helper()
	proxy := &forwardProxy{}
	listener, err := net.Listen("tcp", e2e.BridgeAddress(t)+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: proxy}}
	server.Start()
	t.Cleanup(server.Close)
	proxy.address = "http://" + listener.Addr().String()
	return proxy
}

func (p *forwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mutex.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mutex.Unlock()
	switch {
	case r.Method == http.MethodConnect:
		http.Error(w, "no way to there", http.StatusBadGateway)
	case strings.HasSuffix(r.URL.Hostname(), ".outside.test"):
		_, _ = io.WriteString(w, "through the proxy\n")
	default:
		http.Error(w, "this host is not mine", http.StatusForbidden)
	}
}

func (p *forwardProxy) hosts() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return slices.Clone(p.asked)
}
