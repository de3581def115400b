package archives

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// apis are two GitHubs in memory without repositories. They limit requests for acme/limited.
type apis struct {
	mutex sync.Mutex
	asked []string
}

func (a *apis) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.asked = append(a.asked, r.URL.Host+r.URL.Path)
	answer := &http.Response{StatusCode: http.StatusNotFound, Status: "404 Not Found", Body: http.NoBody, Request: r}
	if strings.Contains(r.URL.Path, "/acme/limited/") {
		answer.StatusCode, answer.Status = http.StatusForbidden, "403 Forbidden"
	}
	return answer, nil
}

// Jobs report names. Each is looked up once in a while, and not more of them than GitHub allows.
func TestUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		github := &apis{}
		used := &Used{
			Archives: Archives{Folder: t.TempDir(), Limit: 1, Client: &http.Client{Transport: github}, Now: time.Now},
			APIs:     []string{"https://one.example/api/v3", "https://two.example"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Waiting: NewWaiting(),
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go used.Run(ctx)
		report := func(text string) (status, lookups int) {
			before := len(github.asked)
			answer := httptest.NewRecorder()
			used.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, Path, strings.NewReader(text)))
			synctest.Wait()
			return answer.Code, len(github.asked) - before
		}
		for _, test := range []struct {
			name, text string
			after      time.Duration
			lookups    int
		}{
			{"an action", "acme/tool@v1\n", 0, 2},
			{"the same again", "acme/tool@v1\n", time.Minute, 0},
			{"no action", "../../etc@passwd\nacme\n\n", 0, 0},
			{"several", "acme/tool@v1\nacme/a@v1\nacme/b/sub@v1", 0, 4},
			{"the same after some hours", "acme/tool@v1\n", again, 2},
			{"one that GitHub limits", "acme/limited@v1\n", 0, 2},
			{"the same again", "acme/limited@v1\n", 0, 2},
		} {
			time.Sleep(test.after)
			if status, lookups := report(test.text); status != http.StatusAccepted || lookups != test.lookups {
				t.Errorf("%s: status %d, %d requests, want %d and %d", test.name, status, lookups, http.StatusAccepted, test.lookups)
			}
		}
		time.Sleep(time.Hour)
		var many strings.Builder
		for i := range perHour + 20 {
			fmt.Fprintf(&many, "acme/many@v%d\n", i)
		}
		if _, lookups := report(many.String()); lookups != perHour {
			t.Errorf("many at once: %d requests, want %d", lookups, perHour)
		}
		if want := "one.example/api/v3/repos/acme/tool/commits/v1"; github.asked[0] != want {
			t.Errorf("asked for %s, want %s", github.asked[0], want)
		}
		answer := httptest.NewRecorder()
		used.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, Path, http.NoBody))
		if answer.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET: status %d, want %d", answer.Code, http.StatusMethodNotAllowed)
		}
	})
}
