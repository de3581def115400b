package cluster

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// answers are a small cluster's, by path.
var answers = map[string]string{
	"/version":                        `{"major":"1","minor":"37+"}`,
	"/api/v1/namespaces/runnerctl-ci": `{"metadata":{"name":"runnerctl-ci"}}`,
	"/apis/node.k8s.io/v1/runtimeclasses/runnerctl": `{"metadata":{"name":"runnerctl"},"handler":"runnerctl"}`,
	"/api/v1/nodes": `{"items":[{"metadata":{"name":"a","labels":{"dev.runnerctl/node":"true"}},"status":{"allocatable":{"cpu":"4","dev.runnerctl/tun":"1k"},
		"nodeInfo":{"kernelVersion":"6.12.1","containerRuntimeVersion":"containerd://2.1.9"},"runtimeHandlers":[{"name":"runnerctl","features":{"recursiveReadOnlyMounts":true,"userNamespaces":true}}]}}]}`,
	"/api/v1/namespaces/runnerctl-ci/secrets/runnerctl-github": `{"kind":"PartialObjectMetadata"}`,
	"/api/v1/namespaces/runnerctl-ci/pods": `{"items":[{"metadata":{"name":"good"},"status":{"phase":"Running","containerStatuses":[{"state":{"running":{}}}]}},
		{"metadata":{"name":"waits"},"status":{"containerStatuses":[{"state":{"waiting":{"reason":"CreateContainerError","message":"no profile"}}}]}},
		{"metadata":{"name":"ended"},"status":{"containerStatuses":[{"state":{"terminated":{"exitCode":1,"message":"start: missing: /dev/net/tun"}}}]}},
		{"metadata":{"name":"refused"},"status":{"message":"Pod was rejected: Node didn't have enough resource: cpu"}}]}`,
}

// serve starts an API server, which denies one path, and returns the path of its kubeconfig.
func serve(t *testing.T, token, denied string) (kubeconfig string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, found := answers[r.URL.Path]
		switch {
		case r.Header.Get("Authorization") != "Bearer secret-token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == denied:
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "nodes is forbidden"})
		case strings.Contains(r.URL.Path, "/secrets/") && !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata"):
			t.Error("the secret's content was requested")
		case !found:
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = fmt.Fprint(w, text)
		}
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: u, user: {token: %s}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n",
		server.URL, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), token)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, kubeconfig string) (State, error) {
	t.Helper()
	server, err := Connect(kubeconfig, "x")
	if err != nil {
		t.Fatal(err)
	}
	return server.Read(t.Context(), wanted)
}

func TestRead(t *testing.T) {
	got, err := read(t, serve(t, "secret-token", ""))
	want := State{
		Minor: 37, Labels: map[string]string{}, Handler: "runnerctl", Secret: true, Unread: map[string]string{},
		Nodes:   []Node{{Name: "a", Kernel: "6.12.1", Runtime: "containerd://2.1.9", Prepared: true, Handlers: map[string]bool{"runnerctl": true}, Devices: 1000}},
		Waiting: []Pod{{"waits", "CreateContainerError: no profile"}, {"ended", "exit code 1: start: missing: /dev/net/tun"}, {"refused", "Pod was rejected: Node didn't have enough resource: cpu"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

// A part that the user may not read is skipped with the server's reason.
func TestReadDenied(t *testing.T) {
	got, err := read(t, serve(t, "secret-token", "/api/v1/nodes"))
	if err != nil || got.Unread["cluster.kernel"] != "403 Forbidden nodes is forbidden" || got.Nodes != nil {
		t.Errorf("got %+v, %v, want the nodes unread", got, err)
	}
	if found := run(t, got, wanted)["cluster.nodes"]; found.Observed != "403 Forbidden nodes is forbidden" {
		t.Errorf("got %+v, want it skipped", found)
	}
}

func TestReadUnauthorized(t *testing.T) {
	if _, err := read(t, serve(t, "old-token", "")); err == nil || !strings.Contains(err.Error(), "does not accept the credential") {
		t.Errorf("got %v, want the credential", err)
	}
}

// Without a cluster, the error names the way to select one.
func TestConnect(t *testing.T) {
	kubeconfig := serve(t, "secret-token", "")
	if _, err := Connect(kubeconfig, "other"); err == nil || !strings.Contains(err.Error(), `context "other" does not exist`) {
		t.Errorf("got %v, want the context's name", err)
	}
	if _, err := Connect(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("no error without a file, want one")
	}
}
