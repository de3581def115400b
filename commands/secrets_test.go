//go:build linux

package commands

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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
	"testing"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// tap stands before a stand-in GitHub and keeps the secrets that it answers with.
type tap struct {
	*httptest.Server
	mu      sync.Mutex
	secrets map[string]string // what it is → the very text
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
			made.keep("the token of "+response.Request.URL.Path, answer.Token)
		}
		return err
	}
	made.Server = httptest.NewTLSServer(proxy)
	t.Cleanup(made.Close)
	return made
}

func (p *tap) keep(what, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != "" {
		p.secrets[what] = text
	}
}

func (p *tap) certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
}

// keepParts adds what an agent makes of its JIT configuration.
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
	var key map[string]string
	if err := json.Unmarshal(inner, &key); err != nil {
		t.Fatal(err)
	}
	p.keep("the agent's key file", files[".credentials_rsaparams"])
	p.keep("the agent's key", key["d"])
}

// Neither the operator's secrets nor the runner's are anywhere afterwards but in
// the agent's own files on their tmpfs.
func TestSecrets(t *testing.T) {
	api := realEngine(t)
	github := startGitHub(t, ghsim.Options{RunnerAddress: bridgeAddress(t, api)})
	front := newTap(t, github)
	token := os.Getenv("RUNNERCTL_TOKEN")
	id, key, err := github.App()
	if err != nil {
		t.Fatal(err)
	}
	github.Install(id, "acme", ghsim.RunnerPermissions())
	name := newFleet(t, api)
	write(t, "app.pem", string(key))
	write(t, "ca.pem", string(front.certificate()))
	settings := fmt.Sprintf("target: %s/acme/api\nimage: {agent: {archive: %s}}\n", front.URL, agenttest.Archive(t))

	for _, auth := range []string{"github: {caFile: ca.pem}", fmt.Sprintf("github: {caFile: ca.pem, app: {id: %d, keyFile: app.pem}}", id)} {
		write(t, "runnerctl.yaml", settings+auth)
		if strings.Contains(auth, "app") {
			t.Setenv("RUNNERCTL_TOKEN", "")
		}
		code, stdout, stderr := runnerctl(t.Context(), up(name)...)
		if code != 0 {
			t.Fatal(stderr)
		}
		front.keepParts(t)
		front.keep("the operator's token", token)
		front.keep("the App's key", strings.Split(string(key), "\n")[5])
		if want := map[bool]int{true: 6, false: 5}[strings.Contains(auth, "app")]; len(front.secrets) != want {
			t.Fatalf("%d secrets known, want %d", len(front.secrets), want)
		}
		runner := list(t, name)[0]
		searched := everyTrace(t, api, runner)
		searched["what up says"] = []byte(stdout + stderr)
		searched["ps"] = []byte(must(t, "ps", "--fleet", name, "-o", "json"))
		searched["inspect"] = []byte(must(t, "inspect", "-o", "json", runner.Name))
		if !slices.ContainsFunc(keysOf(searched), func(place string) bool { return bytes.Contains(searched[place], []byte("Runner.Listener\x00run")) }) {
			t.Fatal("the search does not see the agent")
		}
		for what, text := range front.secrets {
			for _, needle := range []string{text, base64.StdEncoding.EncodeToString([]byte(text))[:len(text)]} {
				for place, content := range searched {
					if bytes.Contains(content, []byte(needle)) {
						t.Errorf("%s is in %s", what, place)
					}
				}
			}
		}
		must(t, "down", "--fleet", name)
	}
}

func keysOf(texts map[string][]byte) (all []string) {
	for key := range texts {
		all = append(all, key)
	}
	return all
}

// everyTrace is all that a runner leaves to read on its host, by place.
func everyTrace(t *testing.T, api *client.Client, runner fleet.Runner) map[string][]byte {
	t.Helper()
	found := map[string][]byte{"the container's log": []byte(containerLog(t, api, runner.ContainerID))}
	asJSON := func(place string, value any, err error) {
		text, encodeErr := json.Marshal(value)
		if err != nil || encodeErr != nil {
			t.Fatal(err, encodeErr)
		}
		found[place] = text
	}
	container, err := api.ContainerInspect(t.Context(), runner.ContainerID)
	asJSON("docker inspect", container, err)
	image, err := api.ImageInspect(t.Context(), container.Image)
	asJSON("the image", image, err)
	history, err := api.ImageHistory(t.Context(), container.Image)
	asJSON("the image's history", history, err)
	volume, err := api.VolumeInspect(t.Context(), runner.Name+"-data")
	asJSON("the volume's labels", volume, err)

	for _, path := range processesOf(t, []string{runner.ContainerID}) {
		for _, file := range []string{"environ", "cmdline"} {
			path := filepath.Join(filepath.Dir(path), file)
			if content, err := os.ReadFile(path); err == nil { // else it ended meanwhile
				found[path] = content
			}
		}
	}
	for _, folder := range []string{container.GraphDriver.Data["UpperDir"], volume.Mountpoint} {
		files := 0
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil // gone meanwhile, or no text
			}
			if content, err := os.ReadFile(path); err == nil {
				found[path] = content
				files++
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Fatalf("%q: %d files read: %v", folder, files, err)
		}
	}
	return found
}
