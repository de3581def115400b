//go:build linux

package github

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// tap is a proxy in front of a stand-in GitHub that keeps the secrets in its answers.
type tap struct {
	*httptest.Server
	cert    []byte // PEM
	mu      sync.Mutex
	secrets map[string]string // description → the exact text
}

func newTap(t *testing.T, github *ghsim.Server) *tap {
	t.Helper()
	behind, err := url.Parse(github.URL)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(github.CA())
	made := &tap{secrets: map[string]string{}}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	proxy.ModifyResponse = func(response *http.Response) error {
		text, err := io.ReadAll(response.Body)
		response.Body = io.NopCloser(bytes.NewReader(text))
		var answer struct {
			JIT   string `json:"encoded_jit_config"`
			Token string `json:"token"`
		}
		if json.Unmarshal(text, &answer) == nil {
			made.keep("the JIT configuration", answer.JIT)
			made.keep("the token of "+strings.TrimPrefix(response.Request.URL.Path, "/api/v3"), answer.Token)
		}
		return err
	}
	made.Server, made.cert = onBridge(t, proxy)
	return made
}

func (p *tap) keep(what, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != "" {
		p.secrets[what] = text
	}
}

// keepParts adds the secrets that an agent derives from its JIT configuration.
func (p *tap) keepParts(t *testing.T) {
	t.Helper()
	blob, err := base64.StdEncoding.DecodeString(p.secrets["the JIT configuration"])
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]string
	if err := json.Unmarshal(blob, &files); err != nil {
		t.Fatal(err)
	}
	inner, err := base64.StdEncoding.DecodeString(files[".credentials_rsaparams"])
	if err != nil {
		t.Fatal(err)
	}
	p.keep("the agent's key file", files[".credentials_rsaparams"])
	p.keep("the agent's key", privateExponent(t, inner))
}

// keepOperators adds the operator's token and the key of an App that it makes and installs.
func (p *tap) keepOperators(t *testing.T, github *ghsim.Server) (id int64, key []byte) {
	t.Helper()
	p.keep("the operator's token", os.Getenv("RUNNERCTL_TOKEN"))
	id, key, err := github.App()
	if err != nil {
		t.Fatal(err)
	}
	github.Install(id, "acme", ghsim.RunnerPermissions())
	for i, line := range strings.Split(string(key), "\n") {
		if len(line) > 20 && !strings.HasPrefix(line, "-----") {
			p.keep(fmt.Sprintf("line %d of the App's key", i+1), line)
		}
	}
	return id, key
}

// privateExponent returns the secret part of an agent's key file.
func privateExponent(t *testing.T, file []byte) string {
	t.Helper()
	var key map[string]string
	if err := json.Unmarshal(file, &key); err != nil || key["d"] == "" {
		t.Fatalf("the agent's key file: %v", err)
	}
	return key["d"]
}

// keyFile is the agent's key file, in its root folder.
const keyFile = ".credentials_rsaparams"

// Afterwards, the operator's secrets and the runner's are only in the agent's own files: on
// the tmpfs of a runner of one job, on the volume of a static one.
func TestSecrets(t *testing.T) {
	api := e2e.Engine(t)
	github := e2e.StartGitHub(t, ghsim.Options{RunnerAddress: e2e.BridgeAddress(t) + ":0"})
	front := newTap(t, github)
	id, key := front.keepOperators(t, github)
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "app.pem", string(key))
	e2e.WriteFile(t, "ca.pem", string(front.cert))
	settings := fmt.Sprintf("target: %s/acme/api\nimage: {agent: {archive: %s}}\n", front.URL, agenttest.Archive(t))
	byApp := fmt.Sprintf("github: {caFile: ca.pem, app: {id: %d, keyFile: app.pem}}\n", id)

	for _, test := range []struct {
		name, settings string
		secrets        []string // that this case adds
	}{
		{"by token", "github: {caFile: ca.pem}\n", []string{"the JIT configuration", "the agent's key"}},
		{"by App", byApp, []string{"the token of /app/installations/"}},
		{"static", byApp + "runners: {ephemeral: false}\n", []string{"the token of /app/installations/", "the token of /repos/acme/api/actions/runners/registration-token"}},
	} {
		if test.name == "by App" && !e2e.Thorough { // the static case uses the App too
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			e2e.WriteFile(t, "runnerctl.yaml", settings+test.settings)
			if test.name != "by token" {
				t.Setenv("RUNNERCTL_TOKEN", "")
			}
			code, stdout, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name)...)
			if code != 0 {
				t.Fatalf("up: exit code %d, want 0: %s", code, stderr)
			}
			runner := e2e.List(t, name)[0]
			machine := treeOf(t, runner)
			kept := filepath.Join(volumeOf(t, api, runner), "runnerctl", "agent", keyFile)
			static := test.name == "static"
			if static {
				front.keep("the agent's key", privateExponent(t, []byte(e2e.ReadFile(kept))))
			} else {
				front.keepParts(t)
			}
			for _, what := range test.secrets {
				if !slices.ContainsFunc(keysOf(front.secrets), func(one string) bool { return strings.HasPrefix(one, what) }) {
					t.Fatalf("%s is not known, known are %q", what, keysOf(front.secrets))
				}
			}
			needles := newNeedles(front.secrets)
			needles.look(t, "the output of up", []byte(stdout+stderr))
			needles.look(t, "ps", []byte(e2e.Must(t, "ps", "--fleet", name, "-o", "json")))
			needles.look(t, "inspect", []byte(e2e.Must(t, "inspect", "-o", "json", runner.Name)))
			keyFiles := needles.lookEverywhere(t, api, runner)
			// The agent's folder, seen from the host, is on the tmpfs or on the volume.
			inside := filepath.Join(machine, "run/runnerctl/agent", keyFile)
			if found := needles.in([]byte(e2e.ReadFile(inside))); found != "the agent's key" {
				t.Errorf("%s holds %q, want the agent's key: the search is blind", inside, found)
			}
			want := []string{}
			if static {
				want = []string{kept}
			}
			if !slices.Equal(keyFiles, want) || isTmpfs(t, inside) == static {
				t.Errorf("the key lies in %v, want %v; on a tmpfs: %t, want %t", keyFiles, want, isTmpfs(t, inside), !static)
			}
			e2e.Must(t, "down", "--fleet", name)
		})
	}
}

// look fails if the content of a place has a secret.
func (n *needles) look(t *testing.T, place string, content []byte) {
	t.Helper()
	if what := n.in(content); what != "" {
		t.Errorf("%s is in %s, want no secret there", what, place)
	}
}

// lookEverywhere looks at every trace of a runner and returns the places of the agent's key
// file.
func (n *needles) lookEverywhere(t *testing.T, api *client.Client, runner fleet.Runner) (keyFiles []string) {
	t.Helper()
	agentSeen := false
	keyFiles = []string{}
	everyTrace(t, api, runner, func(place string, content []byte) {
		agentSeen = agentSeen || bytes.Contains(content, []byte("Runner.Listener\x00run"))
		if strings.HasSuffix(place, "/"+keyFile) && n.in(content) == "the agent's key" {
			keyFiles = append(keyFiles, place)
			return
		}
		n.look(t, place, content)
	})
	if !agentSeen {
		t.Fatal("the search does not see the agent, want its command line")
	}
	return keyFiles
}

// needles are secrets in the forms in which they may be written: as they are, and in base64
// at any offset in a text.
type needles struct {
	first [1 << 16]bool // whether a needle begins with these two bytes
	by    map[[2]byte][]needle
}

type needle struct{ what, text string }

func newNeedles(secrets map[string]string) *needles {
	made := &needles{by: map[[2]byte][]needle{}}
	for what, secret := range secrets {
		texts := []string{secret}
		for skipped := range 3 {
			rest := secret[skipped:]
			texts = append(texts, base64.StdEncoding.EncodeToString([]byte(rest[:len(rest)/3*3])))
		}
		for _, text := range texts {
			made.first[int(text[0])<<8|int(text[1])] = true
			begin := [2]byte{text[0], text[1]}
			made.by[begin] = append(made.by[begin], needle{what, text})
		}
	}
	return made
}

// in returns the name of a secret that the content holds, the agent's key last; "" if none.
func (n *needles) in(content []byte) (found string) {
	for i := 0; i+1 < len(content); i++ {
		if !n.first[int(content[i])<<8|int(content[i+1])] {
			continue
		}
		for _, one := range n.by[[2]byte{content[i], content[i+1]}] {
			if bytes.HasPrefix(content[i:], []byte(one.text)) && (found == "" || found == "the agent's key") {
				found = one.what
			}
		}
	}
	return found
}

func TestNeedlesAreFound(t *testing.T) {
	const secret = "a-secret-of-some-length"
	n := newNeedles(map[string]string{"it": secret})
	for _, before := range []string{"", "x", "xy", "xyz"} {
		for _, text := range []string{before + secret + "z", base64.StdEncoding.EncodeToString([]byte(before + secret)), base64.StdEncoding.EncodeToString([]byte(before + secret + "z"))} {
			if n.in([]byte(text)) != "it" {
				t.Errorf("found %q in %q, want it", n.in([]byte(text)), text)
			}
		}
	}
	if found := n.in([]byte(strings.ToUpper(secret))); found != "" {
		t.Errorf("found %q in capitals, want nothing", found)
	}
}

// treeOf returns the file tree of a runner's machine, as the host sees it.
func treeOf(t *testing.T, runner fleet.Runner) string {
	t.Helper()
	for _, path := range e2e.ProcessesOf(t, []string{runner.ContainerID}) {
		if strings.Contains(e2e.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")), "Runner.Listener\x00run") {
			return filepath.Join(filepath.Dir(path), "root")
		}
	}
	t.Fatal("no agent runs")
	return ""
}

func volumeOf(t *testing.T, api *client.Client, runner fleet.Runner) string {
	t.Helper()
	volume, err := api.VolumeInspect(t.Context(), runner.Name+"-data")
	if err != nil {
		t.Fatal(err)
	}
	return volume.Mountpoint
}

func isTmpfs(t *testing.T, path string) bool {
	t.Helper()
	const magic = 0x01021994 // statfs(2)
	var seen syscall.Statfs_t
	if err := syscall.Statfs(path, &seen); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return seen.Type == magic
}

func keysOf(texts map[string]string) (all []string) {
	for key := range texts {
		all = append(all, key)
	}
	return all
}

// everyTrace calls see with the place and content of everything that a runner leaves readable
// on its host, and of its image's files.
func everyTrace(t *testing.T, api *client.Client, runner fleet.Runner, see func(place string, content []byte)) {
	t.Helper()
	see("the container's log", []byte(e2e.ContainerLog(t, api, runner.ContainerID)))
	asJSON := func(place string, value any, err error) {
		text, encodeErr := json.Marshal(value)
		if err != nil || encodeErr != nil {
			t.Fatal(err, encodeErr)
		}
		see(place, text)
	}
	container, err := api.ContainerInspect(t.Context(), runner.ContainerID)
	asJSON("docker inspect", container, err)
	image, err := api.ImageInspect(t.Context(), container.Image)
	asJSON("the image", image, err)
	history, err := api.ImageHistory(t.Context(), container.Image)
	asJSON("the image's history", history, err)
	volume, err := api.VolumeInspect(t.Context(), runner.Name+"-data")
	asJSON("the volume's labels", volume, err)

	for _, path := range e2e.ProcessesOf(t, []string{runner.ContainerID}) {
		for _, file := range []string{"environ", "cmdline"} {
			path := filepath.Join(filepath.Dir(path), file)
			if content, err := os.ReadFile(path); err == nil { // otherwise the process has ended
				see(path, content)
			}
		}
	}
	folders := append(strings.Split(container.GraphDriver.Data["LowerDir"], ":"), container.GraphDriver.Data["UpperDir"], volume.Mountpoint)
	if len(folders) < 5 {
		t.Fatalf("layers: %v, want 5 at least", folders)
	}
	for _, folder := range folders {
		files := 0
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil // removed in the meantime
			}
			files++
			if !entry.Type().IsRegular() {
				return nil
			}
			if content, err := os.ReadFile(path); err == nil {
				see(path, content)
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Fatalf("%q: %d files seen, want some: %v", folder, files, err)
		}
	}
}
