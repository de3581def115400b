//go:build linux

package docker

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	for _, test := range []struct {
		name, answer, want string
		code               int
	}{
		{"loaded", `{"stream":"Loaded image: a"}`, "", http.StatusOK},
		{"refused", `{"message":"no space"}`, "no space", http.StatusInternalServerError},
		{"failed on the way", `{"errorDetail":{"message":"bad archive"}}`, "bad archive", http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "docker.sock")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = r.Method + " " + r.URL.String() + " " + string(body)
				w.WriteHeader(test.code)
				_, _ = io.WriteString(w, test.answer)
			})}
			go func() { _ = server.Serve(listener) }()
			defer func() { _ = server.Close() }()
			err = load(socket, strings.NewReader("an archive"))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if want := "POST /images/load?quiet=1 an archive"; got != want {
				t.Errorf("got the request %q, want %q", got, want)
			}
		})
	}
}
