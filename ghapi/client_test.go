package ghapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/runnerctl/runnerctl/internal/secret"
)

func hintOf(err error) string {
	var advised interface{ Hint() string }
	if errors.As(err, &advised) {
		return advised.Hint()
	}
	return ""
}

// A missing permission differs from other errors, and the error names the permission.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name       string
		fault      fault
		auth       bool
		text, hint string
	}{
		{"401", fault{status: 401, body: `{"message":"Bad credentials"}`}, true, "401 Unauthorized: Bad credentials", "the token in $TEST is not valid"},
		{"403", fault{status: 403, header: map[string]string{"X-OAuth-Scopes": "gist, read:org"}, body: `{"message":"Must have admin rights to Repository."}`}, true,
			"403 Forbidden: Must have admin rights", "(it has gist, read:org): a classic token needs the scope admin:org"},
		{"403 fine-grained", fault{status: 403, header: map[string]string{"X-Accepted-GitHub-Permissions": "organization_self_hosted_runners=write"}, body: `{"message":"Resource not accessible by personal access token"}`}, true,
			"not accessible", "GitHub asks for organization_self_hosted_runners=write"},
		{"403 sso", fault{status: 403, header: map[string]string{"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?x=1"}, body: `{"message":"Resource protected by organization SAML enforcement."}`}, true,
			"SAML", "https://github.com/orgs/acme/sso?x=1"},
		{"404", fault{status: 404, body: `{"message":"Not Found"}`}, true, "404 Not Found", "organization acme does not exist, or the token in $TEST may not see it"},
		{"409", fault{status: 409, body: `{"message":"Already exists"}`}, false, "409 Conflict: Already exists", "a runner with that name is already registered"},
		{"422", fault{status: 422, body: `{"message":"Validation failed","errors":[{"field":"labels","code":"invalid","message":"too long"}]}`}, false,
			"422 Unprocessable Entity: Validation failed (labels invalid too long)", "check runners.labels"},
		{"html", fault{status: 400, body: "<html><head><title>Whoa\n there!</title><style>a{}</style></head><body>" + strings.Repeat("x", 5000) + "</body></html>"}, false, "400 Bad Request: Whoa there!", ""},
		{"not GitHub", fault{status: 200, body: "<html><body>Please log in</body></html>"}, false, `not JSON from GitHub: "Please log in"`, "no proxy's login page"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, "orgs/acme")
			f.faults = []fault{test.fault}
			client, waits := f.client(t, withGoodToken())
			_, _, err := client.GenerateJIT(t.Context(), "ci-x", 1, []string{"a"}, "_work")
			if err == nil {
				t.Fatal("no error, want one")
			}
			var denied *AuthError
			if got := errors.As(err, &denied); got != test.auth {
				t.Errorf("AuthError: %v, want %v", got, test.auth)
			}
			if text := err.Error(); !strings.Contains(text, test.text) || !strings.Contains(text, "POST /orgs/acme/actions/runners/generate-jitconfig") || strings.Contains(text, "\n") || len(text) > 500 {
				t.Errorf("got %q, want %q and the call, in one line of at most 500 bytes", text, test.text)
			}
			if hint := hintOf(err); !strings.Contains(hint, test.hint) {
				t.Errorf("hint %q, want %q", hint, test.hint)
			}
			if all := fmt.Sprintf("%v %+v %#v %s", err, err, err, hintOf(err)); strings.Contains(all, goodToken) {
				t.Error("the error has the token, want it hidden")
			}
			if len(*waits) > 0 {
				t.Errorf("waited %v, want no wait: nothing gets better by it", *waits)
			}
			if names := f.names(); len(names) > 0 {
				t.Errorf("left registered: %v", names)
			}
		})
	}
}

// The advice is about the request.
func TestPermissionOfWhatWasAsked(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, withGoodToken())
	for permission, ask := range map[string]func() error{
		"Actions (read)":         func() error { _, err := client.JobURLs(t.Context()); return err },
		"Metadata (read)":        func() error { _, err := client.Public(t.Context(), Group{}); return err },
		"Administration (write)": func() error { _, err := client.Runners(t.Context()); return err },
	} {
		f.faults = []fault{{status: 403, body: `{"message":"Resource not accessible by personal access token"}`}}
		if hint := hintOf(ask()); !strings.Contains(hint, "the repository permission "+permission) {
			t.Errorf("want %s, got %q", permission, hint)
		}
	}
}

func TestNoAnswerWithoutToken(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, Auth{Token: secret.New("wrong")})
	_, err := client.Runners(t.Context())
	var denied *AuthError
	if !errors.As(err, &denied) || !HasStatus(err, 401) {
		t.Errorf("error %v, want %T of status 401", err, denied)
	}
	if _, err := New(f.target(t), Auth{}, Options{}); !errors.As(err, &denied) || !strings.Contains(hintOf(err), "RUNNERCTL_TOKEN") {
		t.Errorf("error %v, hint %q, want %T with RUNNERCTL_TOKEN", err, hintOf(err), denied)
	}
}

// Temporary faults are retried, and no incomplete registration is left.
func TestFaultsThatPass(t *testing.T) {
	const html = "<html>\r\n<head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
	tests := []struct {
		name   string
		faults []fault
		wait   time.Duration // the least of the first
	}{
		{"500", []fault{{status: 500, body: `{"message":"Server Error"}`}}, firstPause},
		{"502 with HTML", []fault{{status: 502, body: html}}, firstPause},
		{"503 that says when", []fault{{status: 503, header: map[string]string{"Retry-After": "7"}}}, 7 * time.Second},
		{"a dropped connection", []fault{{}}, firstPause},
		{"dropped after it was carried out", []fault{{carried: true}}, firstPause},
		{"500 although carried out", []fault{{status: 500, carried: true}}, firstPause},
		{"carried out twice, reported never", []fault{{carried: true}, {words: "DELETE"}, {status: 502, body: html, carried: true}}, firstPause},
		{"half an answer", []fault{{status: 201, header: map[string]string{"Content-Length": "500"}, body: `{"runner":{"id":`, carried: true}}, firstPause},
		{"secondary limit", []fault{{status: 403, header: map[string]string{"Retry-After": "3"}, body: `{"message":"You have exceeded a secondary rate limit."}`}}, 3 * time.Second},
		{"secondary limit that says no time", []fault{{status: 403, body: `{"message":"You have exceeded a secondary rate limit."}`}}, time.Minute},
		{"429", []fault{{status: 429, header: map[string]string{"Retry-After": "2"}}}, 2 * time.Second},
		{"primary limit", []fault{{status: 403, header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000030", "Date": time.Unix(1700000000, 0).UTC().Format(http.TimeFormat),
		}, body: `{"message":"API rate limit exceeded"}`}}, 31 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, "orgs/acme")
			f.faults = test.faults
			client, waits := f.client(t, withGoodToken())
			made, jit, err := client.GenerateJIT(t.Context(), "ci-x", 1, []string{"a", "B"}, "_work")
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("jit-of-ci-x-%d", made.ID); jit.Reveal() != want {
				t.Errorf("got %s, want %s", jit.Reveal(), want)
			}
			if names := f.names(); !slices.Equal(names, []string{"ci-x"}) || f.runners[0].ID != made.ID {
				t.Errorf("registered: %v, answered %d, want ci-x alone, with that id", f.runners, made.ID)
			}
			if len(*waits) == 0 || (*waits)[0] < test.wait*9/10 || (*waits)[0] > test.wait*5/4 {
				t.Errorf("waited %v, want %s", *waits, test.wait)
			}
		})
	}
}

// Permanent faults end in an error within the time limit, and leave nothing behind.
func TestFaultsThatStay(t *testing.T) {
	many := func(one fault) []fault { return slices.Repeat([]fault{one}, 50) }
	tests := []struct {
		name   string
		faults []fault
		text   string
		hint   string
	}{
		{"500", many(fault{words: "POST", status: 500}), "500 Internal Server Error", ""},
		{"dropped", many(fault{words: "POST"}), "EOF", "check that this machine reaches"},
		{"dropped though carried out", many(fault{words: "POST", carried: true}), "EOF", "check that this machine reaches"},
		{"a limit that ends in an hour", many(fault{status: 403, header: map[string]string{"Retry-After": "3600"}, body: `{"message":"secondary rate limit"}`}), "secondary rate limit", "try again in 1h0m0s"},
		{"limits without end", many(fault{status: 429}), "429 Too Many Requests", "rate limit of the token in $TEST is used up"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, "orgs/acme")
			f.faults = test.faults
			client, waits := f.client(t, withGoodToken())
			_, _, err := client.GenerateJIT(t.Context(), "ci-x", 1, []string{"a"}, "_work")
			if err == nil || !strings.Contains(err.Error(), test.text) || !strings.Contains(hintOf(err), test.hint) {
				t.Errorf("%v, hint %q, want %q, hint %q", err, hintOf(err), test.text, test.hint)
			}
			var denied *AuthError
			if errors.As(err, &denied) {
				t.Errorf("got %v, want no %T", err, denied)
			}
			var sum time.Duration
			for _, wait := range *waits {
				sum += wait
			}
			if sum > maxPatience || len(*waits) >= 3*attempts {
				t.Errorf("waited %v, want at most %s in fewer than %d waits", *waits, maxPatience, 3*attempts)
			}
			if names := f.names(); len(names) > 0 {
				t.Errorf("left registered: %v", names)
			}
		})
	}
}

// A name of another owner is not taken over, even if answers were lost.
func TestForeignRunnerStays(t *testing.T) {
	for name, change := range map[string]func(*fakeRunner){
		"other labels": func(one *fakeRunner) { one.Labels = []fakeLabel{{"gpu"}} },
		"connected":    func(one *fakeRunner) { one.Status = "online" },
		"at work":      func(one *fakeRunner) { one.Busy = true },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, "orgs/acme")
			f.add("ci-x", "a")
			change(&f.runners[0])
			f.faults = []fault{{}}
			client, _ := f.client(t, withGoodToken())
			_, _, err := client.GenerateJIT(t.Context(), "ci-x", 1, []string{"a"}, "_work")
			if !HasStatus(err, 409) {
				t.Errorf("error %v, want status 409", err)
			}
			if slices.ContainsFunc(f.asked, func(one string) bool { return strings.HasPrefix(one, "DELETE") }) || len(f.runners) != 1 {
				t.Errorf("asked %v, want no DELETE, and one runner", f.asked)
			}
		})
	}
}

// Ctrl-C while GitHub is at it: the answer is not waited for, its registration
// does not stay.
func TestInterruptedMint(t *testing.T) {
	f := newFake(t, "orgs/acme")
	client, _ := f.client(t, withGoodToken())
	ctx, cancel := context.WithCancel(t.Context())
	client.sleep = func(context.Context, time.Duration) error {
		cancel()
		return ctx.Err()
	}
	f.faults = []fault{{carried: true}}
	_, _, err := client.GenerateJIT(ctx, "ci-x", 1, []string{"a"}, "_work")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if names := f.names(); len(names) > 0 {
		t.Errorf("left registered: %v", names)
	}
}

func TestUnknownAuthority(t *testing.T) {
	f := newFake(t, "orgs/acme")
	client, err := New(f.target(t), withGoodToken(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	client.sleep = func(context.Context, time.Duration) error {
		t.Error("tried again")
		return nil
	}
	if _, err = client.Runners(t.Context()); err == nil || !strings.Contains(hintOf(err), "github.caFile") {
		t.Errorf("%v, hint %q, want github.caFile", err, hintOf(err))
	}
	if _, err := New(f.target(t), withGoodToken(), Options{CAs: []byte("nonsense")}); err == nil {
		t.Error("nonsense is taken as a certificate, want an error")
	}
}

func TestProxy(t *testing.T) {
	f := newFake(t, "orgs/acme")
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := New(f.target(t), withGoodToken(), Options{CAs: f.certificate(), Proxy: http.ProxyURL(address)})
	if err != nil {
		t.Fatal(err)
	}
	client.sleep = func(context.Context, time.Duration) error { return nil }
	if _, err := client.Runners(t.Context()); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") {
		t.Errorf("error %v, want %q", err, "Proxy Authentication Required")
	}
	if len(asked) == 0 || asked[0] != "CONNECT "+f.host() {
		t.Errorf("the proxy was asked %v, want %q first", asked, "CONNECT "+f.host())
	}
}

// A redirect does not carry the token to another host.
func TestRedirectElsewhere(t *testing.T) {
	f := newFake(t, "orgs/acme")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked with %q, want no request", r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	f.faults = []fault{{status: 307, header: map[string]string{"Location": elsewhere.URL}}}
	client, _ := f.client(t, withGoodToken())
	if _, err := client.Runners(t.Context()); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("error %v, want %q", err, "another host")
	}
	f.faults = []fault{{status: 307, header: map[string]string{"Location": f.URL + "/api/v3/orgs/acme/actions/runners?per_page=100&page=1"}}}
	if _, err := client.Runners(t.Context()); err != nil {
		t.Errorf("of the same host: %v", err)
	}
}

// In no minute are there more mints than GitHub's secondary limit lets pass.
func TestBudgetOfAMinute(t *testing.T) {
	budget, start := newBudget(), time.Now()
	var passed []time.Time
	for step := range 3000 {
		now := start.Add(time.Duration(step) * 100 * time.Millisecond)
		for budget.AllowN(now, points(http.MethodPost)) {
			passed = append(passed, now)
		}
	}
	if at := passed[99]; at != start {
		t.Errorf("the hundredth waits %s, want no wait", at.Sub(start))
	}
	for i := range passed {
		if last := i + 180; last < len(passed) && passed[last].Sub(passed[i]) < time.Minute {
			t.Fatalf("181 within %s, want a minute at least", passed[last].Sub(passed[i]))
		}
	}
}

// Every attempt costs its points, a failed one and a removal too.
func TestAttemptsAreCounted(t *testing.T) {
	f := newFake(t, "orgs/acme")
	f.faults = []fault{{words: "POST", status: 500}, {words: "POST", status: 500}}
	client, _ := f.client(t, withGoodToken())
	client.budget = rate.NewLimiter(1e-9, 21) // 3 POST, a GET, a DELETE
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	made, _, err := client.GenerateJIT(ctx, "ci-x", 1, []string{"a"}, "_work")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.RunnerByName(ctx, "ci-x"); err != nil {
		t.Error(err)
	}
	if err := client.Remove(ctx, made.ID); err != nil {
		t.Error(err)
	}
	if _, err := client.Runners(ctx); err == nil || !strings.Contains(err.Error(), "request limit") || len(f.asked) != 5 {
		t.Errorf("%v, asked: %v, want the budget's error after 5", err, f.asked)
	}
}

// A limit applies to all callers: later callers also wait for its end.
func TestLimitHoldsAll(t *testing.T) {
	f := newFake(t, "orgs/acme")
	f.faults = []fault{{status: 403, header: map[string]string{"Retry-After": "7"}, body: `{"message":"You have exceeded a secondary rate limit."}`}}
	client, waits := f.client(t, withGoodToken())
	for range 2 {
		if _, err := client.Runners(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(*waits) != 2 || (*waits)[1] < 6*time.Second || (*waits)[1] > 8*time.Second {
		t.Errorf("waited %v, want 7s twice", *waits)
	}
}
