package ghapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"
	"golang.org/x/time/rate"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// Auth is the identity behind the requests: a token, or a GitHub App.
type Auth struct {
	Token secret.Text
	App   *App   // instead of a token
	From  string // source of the token, for messages: "the token in $GITHUB_TOKEN"
}

func (a Auth) source() string {
	switch {
	case a.App != nil:
		return fmt.Sprintf("the GitHub App %d", a.App.ID)
	case a.From != "":
		return a.From
	}
	return "the token"
}

// Options configure how GitHub is reached.
type Options struct {
	CAs       []byte                                // PEM, in addition to the system's certificates
	Proxy     func(*http.Request) (*url.URL, error) // nil: no proxy
	UserAgent string
	Through   func(http.RoundTripper) http.RoundTripper // wraps the transport of all calls of a Client; nil: nothing
}

// Transport returns a transport for GitHub and all other hosts behind the same proxy. It
// limits the time for dialling, for TLS and for the first bytes of an answer.
func (o Options) Transport() (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone() // limits dialling to 30 s and TLS to 10 s
	transport.ResponseHeaderTimeout = attemptLimit
	transport.Proxy = o.Proxy
	transport.MaxIdleConnsPerHost = 20 // JIT configurations are requested in parallel
	if len(o.CAs) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CAs) {
			return nil, errors.New("github.caFile holds no PEM certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return transport, nil
}

// Client sends requests to one target's GitHub. It is safe for concurrent use.
type Client struct {
	target Target
	auth   Auth
	http   *http.Client // without authorization
	api    *github.Client
	budget *rate.Limiter // in points
	sleep  func(context.Context, time.Duration) error

	mu           sync.Mutex
	installation http.RoundTripper // of an App; nil until it is found

	quietMu sync.Mutex
	quiet   time.Time // no requests before this time, because of a rate limit
}

// New returns a client for the target's own GitHub. It sends nothing yet.
func New(target Target, auth Auth, options Options) (*Client, error) {
	if auth.Token.Empty() && auth.App == nil {
		return nil, &AuthError{
			Err:    fmt.Errorf("no token for %s", target),
			advice: "set RUNNERCTL_TOKEN, or github.tokenFile or github.app in runnerctl.yaml, or log in with gh; " + target.needs(),
		}
	}
	return newClient(target, auth, options)
}

func newClient(target Target, auth Auth, options Options) (*Client, error) {
	transport, err := options.Transport()
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: transport, CheckRedirect: sameHost}
	if options.Through != nil {
		client.Transport = options.Through(transport)
	}
	api := github.NewClient(client)
	api.UserAgent = options.UserAgent
	base, err := url.Parse(target.APIURL())
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", target, err)
	}
	api.BaseURL = base
	return &Client{target: target, auth: auth, http: client, api: api, budget: newBudget(), sleep: sleep}, nil
}

var (
	errElsewhere = errors.New("it redirects to another host")
	errNotJSON   = errors.New("the response is not JSON from GitHub")
)

// sameHost follows the redirect of a renamed repository, but no redirect that would carry the
// token to another host.
func sameHost(request *http.Request, via []*http.Request) error {
	if request.URL.Host != via[0].URL.Host || request.URL.Scheme != via[0].URL.Scheme {
		return errElsewhere
	}
	if len(via) > 5 {
		return errors.New("too many redirects")
	}
	return nil
}

// Target returns the target that the client was made for.
func (c *Client) Target() Target { return c.target }

// call sends a request, repeats it where that may help, and decodes the JSON answer into out
// unless out is nil. path has no leading slash. Errors are an *Error, or an *AuthError that
// holds one.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	send := c.withToken
	if c.auth.App != nil {
		transport, err := c.installationTransport(ctx)
		if err != nil {
			return err
		}
		send = through(transport)
	}
	return c.callAs(ctx, send, request{method, path, body, out})
}

// sender sends one request with the credential of one identity.
type sender func(*http.Request) (*http.Response, error)

func (c *Client) withToken(request *http.Request) (*http.Response, error) {
	request.Header.Set("Authorization", "Bearer "+c.auth.Token.Reveal())
	return c.http.Do(request)
}

// request is a request to GitHub's API. path has no leading slash.
type request struct {
	method, path string
	body, out    any // JSON; nil for none
}

func (c *Client) callAs(ctx context.Context, send sender, r request) error {
	uncertain := false
	var waited time.Duration
	for attempt := 0; ; attempt++ {
		held, err := c.turn(ctx, r.method)
		if err != nil {
			return &Error{Method: r.method, Path: "/" + routeOf(r.path), Host: c.target.Host, Err: err, Uncertain: uncertain}
		}
		waited += held
		refused, header := c.once(ctx, send, r)
		if refused == nil {
			return nil
		}
		uncertain = uncertain || refused.Uncertain
		refused.Uncertain = uncertain
		wait, again := pause(refused.Status, header, refused.Message, refused.Err, attempt)
		isLimit := limited(refused.Status, header, refused.Message)
		if again && attempt < attempts-1 && waited+wait <= maxPatience && ctx.Err() == nil {
			if isLimit {
				c.hush(wait)
				continue
			}
			if c.sleep(ctx, wait) == nil {
				waited += wait
				continue
			}
		}
		if ctx.Err() != nil {
			refused.Status, refused.Err = 0, ctx.Err()
		}
		if isLimit {
			refused.advice = fmt.Sprintf("the rate limit of %s is used up: try again in %s", c.auth.source(), wait.Round(time.Second))
		}
		return c.explained(refused, header, time.Now())
	}
}

// turn waits until a request may be sent. GitHub blocks clients for longer if they keep asking
// while a limit holds. turn returns how long the limit delayed the request.
func (c *Client) turn(ctx context.Context, method string) (time.Duration, error) {
	c.quietMu.Lock()
	held := time.Until(c.quiet)
	c.quietMu.Unlock()
	if held > 0 {
		held += rand.N(held/8 + 1) //nolint:gosec // spreads attempts, keeps no secret
		if err := c.sleep(ctx, held); err != nil {
			return 0, err
		}
	}
	if err := c.budget.WaitN(ctx, points(method)); err != nil {
		return 0, fmt.Errorf("waiting for GitHub's request limit: %w", err)
	}
	return max(held, 0), nil
}

// hush holds back all further requests for the time of wait.
func (c *Client) hush(wait time.Duration) {
	c.quietMu.Lock()
	defer c.quietMu.Unlock()
	if until := time.Now().Add(wait); until.After(c.quiet) {
		c.quiet = until
	}
}

func routeOf(path string) string {
	route, _, _ := strings.Cut(path, "?")
	return route
}

// once sends one request. It returns nil if the answer is as expected. A POST outlives ctx for
// a while: its effect can be undone only if the answer is known.
func (c *Client) once(ctx context.Context, send sender, r request) (*Error, http.Header) {
	if r.method == http.MethodPost {
		lasting, drop := outliving(ctx, answerLimit)
		defer drop()
		ctx = lasting
	}
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	failed := &Error{Method: r.method, Path: "/" + routeOf(r.path), Host: c.target.Host}
	request, err := c.api.NewRequest(r.method, r.path, r.body)
	if err != nil {
		failed.Err = err
		return failed, nil
	}
	response, err := send(request.WithContext(ctx))
	var noToken *ghinstallation.HTTPError
	if errors.As(err, &noToken) && noToken.Response != nil { // the App's token request failed, before the request itself
		failed.Method, failed.Path = noToken.Response.Request.Method, strings.TrimPrefix(noToken.Response.Request.URL.Path, "/api/v3")
		return failed.read(noToken.Response, nil), noToken.Response.Header
	}
	if err != nil {
		failed.Err, failed.Uncertain = withoutURL(err), true
		return failed, nil
	}
	return failed.read(response, r.out), response.Header
}

// read returns nil if the response is as expected, and otherwise e, filled from the response.
func (e *Error) read(response *http.Response, out any) *Error {
	defer func() { _ = response.Body.Close() }()
	const most = 8 << 20
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	switch good := response.StatusCode/100 == 2; {
	case err != nil:
		e.Err, e.Uncertain = err, true
		return e
	case good && out == nil:
		return nil
	case good:
		if err := json.Unmarshal(text, out); err != nil {
			e.Err, e.Uncertain = fmt.Errorf("%w: %q", errNotJSON, gist(text)), true
			return e
		}
		return nil
	}
	e.Status, e.Message, e.Uncertain = response.StatusCode, gist(text), response.StatusCode >= 500
	var answer github.ErrorResponse
	if json.Unmarshal(text, &answer) == nil && answer.Message != "" {
		e.Message = oneLine(answer.Message)
		for _, one := range answer.Errors {
			e.Message += " (" + oneLine(strings.Join([]string{one.Field, one.Code, one.Message}, " ")) + ")"
		}
	}
	return e
}

// withoutURL unwraps a url.Error, whose text would repeat the method and the URL.
func withoutURL(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}
