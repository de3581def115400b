package ghapi

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/secret"
)

const goodToken = "ghp_goodToken0123456789"

// fake is a strict GitHub Enterprise Server of one target: no answer without the
// token. Faults come before its answers.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	route   string // of the target
	tokens  []string
	runners []fakeRunner
	nextID  int64
	asked   []string
	faults  []fault
	more    map[string]string // further answers by "METHOD path"
}

type fakeRunner struct {
	ID     int64       `json:"id"`
	Name   string      `json:"name"`
	Status string      `json:"status"`
	Busy   bool        `json:"busy"`
	Labels []fakeLabel `json:"labels"`
}

type fakeLabel struct {
	Name string `json:"name"`
}

// fault is met by the first request whose "METHOD path" has its words.
type fault struct {
	words   string
	status  int // 0: the connection is dropped
	header  map[string]string
	body    string
	carried bool // out, before it fails
}

func newFake(t *testing.T, route string) *fake {
	f := &fake{route: "/api/v3/" + route, tokens: []string{goodToken}, nextID: 1, more: map[string]string{}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *fake) certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
}

func (f *fake) host() string { return strings.TrimPrefix(f.URL, "https://") }

func (f *fake) target(t *testing.T) Target {
	t.Helper()
	path := strings.TrimPrefix(strings.TrimPrefix(f.route, "/api/v3/"), "repos/")
	target, err := ParseTarget("https://" + f.host() + "/" + strings.TrimPrefix(path, "orgs/"))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// client of the fake, which notes its waits instead of waiting.
func (f *fake) client(t *testing.T, auth Auth) (*Client, *[]time.Duration) {
	t.Helper()
	client, err := New(f.target(t), auth, Options{CAs: f.certificate()})
	if err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	var mu sync.Mutex
	client.sleep = func(ctx context.Context, wait time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, wait)
		return ctx.Err()
	}
	return client, &waits
}

func withGoodToken() Auth { return Auth{Token: secret.New(goodToken), From: "the token in $TEST"} }

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v3")
	f.asked = append(f.asked, asked)
	i := slices.IndexFunc(f.faults, func(one fault) bool { return strings.Contains(asked, one.words) })
	if i < 0 {
		f.answer(w, r)
		return
	}
	one := f.faults[i]
	f.faults = slices.Delete(f.faults, i, i+1)
	if one.carried {
		f.answer(httptest.NewRecorder(), r)
	}
	if one.status == 0 {
		panic(http.ErrAbortHandler)
	}
	for name, value := range one.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(one.status)
	fmt.Fprint(w, one.body)
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	reply := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if text, ok := body.(string); ok {
			fmt.Fprint(w, text)
			return
		}
		_ = json.NewEncoder(w).Encode(body)
	}
	token := strings.TrimPrefix(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "token ")
	if token == "" || !slices.Contains(f.tokens, token) {
		reply(http.StatusUnauthorized, `{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest"}`)
		return
	}
	if body, ok := f.more[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/v3")]; ok {
		reply(http.StatusOK, body)
		return
	}
	path, ours := strings.CutPrefix(r.URL.Path, f.route+"/actions/runners")
	if !ours {
		reply(http.StatusNotFound, `{"message":"Not Found"}`)
		return
	}
	switch {
	case r.Method == http.MethodPost && path == "/generate-jitconfig":
		var asked struct {
			Name       string   `json:"name"`
			Group      int64    `json:"runner_group_id"`
			Labels     []string `json:"labels"`
			WorkFolder string   `json:"work_folder"`
		}
		text, _ := io.ReadAll(r.Body)
		if json.Unmarshal(text, &asked) != nil || asked.Name == "" || asked.Group == 0 || len(asked.Labels) == 0 || asked.WorkFolder == "" {
			reply(http.StatusUnprocessableEntity, `{"message":"Invalid request","errors":[{"field":"labels","code":"missing"}]}`)
			return
		}
		if slices.ContainsFunc(f.runners, func(one fakeRunner) bool { return one.Name == asked.Name }) {
			reply(http.StatusConflict, `{"message":"Already exists - A runner with the name already exists."}`)
			return
		}
		made := f.add(asked.Name, asked.Labels...)
		reply(http.StatusCreated, map[string]any{"runner": made, "encoded_jit_config": fmt.Sprintf("jit-of-%s-%d", made.Name, made.ID)})
	case r.Method == http.MethodPost && (path == "/registration-token" || path == "/remove-token"):
		reply(http.StatusCreated, map[string]string{"token": "made-" + path[1:], "expires_at": "2026-01-01T00:00:00Z"})
	case r.Method == http.MethodGet && path == "":
		f.list(reply, r)
	case r.Method == http.MethodDelete:
		f.remove(reply, path)
	default:
		reply(http.StatusNotFound, `{"message":"Not Found"}`)
	}
}

func (f *fake) add(name string, labels ...string) fakeRunner {
	made := fakeRunner{ID: f.nextID, Name: name, Status: "offline"}
	for _, label := range labels {
		made.Labels = append(made.Labels, fakeLabel{label})
	}
	f.nextID++
	f.runners = append(f.runners, made)
	return made
}

func (f *fake) list(reply func(int, any), r *http.Request) {
	var size, page int
	_, err1 := fmt.Sscan(r.URL.Query().Get("per_page"), &size)
	_, err2 := fmt.Sscan(r.URL.Query().Get("page"), &page)
	if err1 != nil || err2 != nil || size > 100 || page < 1 {
		reply(http.StatusUnprocessableEntity, `{"message":"paging"}`)
		return
	}
	all := f.runners
	if name := r.URL.Query().Get("name"); name != "" {
		all = nil
		for _, one := range f.runners {
			if one.Name == name {
				all = append(all, one)
			}
		}
	}
	from := min((page-1)*size, len(all))
	reply(http.StatusOK, map[string]any{"total_count": len(all), "runners": all[from:min(from+size, len(all))]})
}

func (f *fake) remove(reply func(int, any), path string) {
	for i, one := range f.runners {
		if fmt.Sprintf("/%d", one.ID) != path {
			continue
		}
		if one.Busy {
			reply(http.StatusUnprocessableEntity, `{"message":"Bad request - Runner \"x\" is currently running a job and cannot be deleted."}`)
			return
		}
		f.runners = slices.Delete(f.runners, i, i+1)
		reply(http.StatusNoContent, "")
		return
	}
	reply(http.StatusNotFound, `{"message":"Not Found"}`)
}

func (f *fake) names() (all []string) {
	for _, one := range f.runners {
		all = append(all, one.Name)
	}
	return all
}
