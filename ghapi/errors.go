package ghapi

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Error is a request that GitHub refused or did not answer. It holds no secret.
type Error struct {
	Method  string
	Path    string // as in GitHub's documentation: begins with /repos, /orgs or /enterprises
	Host    string
	Status  int    // of the answer; 0 if none came
	Message string // GitHub's own message
	Err     error  // set if no answer came
	// Uncertain reports that an attempt got no valid answer, or a 5xx status: GitHub may have
	// carried out the request all the same.
	Uncertain bool

	advice string
}

func (e *Error) Error() string {
	asked := fmt.Sprintf("%s: %s %s", e.Host, e.Method, e.Path)
	if e.Status == 0 {
		return fmt.Sprintf("%s: %v", asked, e.Err)
	}
	answer := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	if e.Message != "" {
		answer += ": " + e.Message
	}
	return asked + ": GitHub answered " + answer
}

// Unwrap returns the connection's error.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns advice for the user.
func (e *Error) Hint() string { return e.advice }

// Is makes a conflict match fleet.ErrNameTaken.
func (e *Error) Is(target error) bool {
	return target == fleet.ErrNameTaken && e.Status == http.StatusConflict
}

// AuthError is a request that was refused because of its credential: no token, a wrong
// token, or a token that lacks the permission or can't even see the target.
type AuthError struct {
	Err    error
	advice string
}

func (e *AuthError) Error() string { return e.Err.Error() }

// Unwrap returns the refused request.
func (e *AuthError) Unwrap() error { return e.Err }

// Hint returns advice for the user.
func (e *AuthError) Hint() string { return e.advice }

// Is makes it match fleet.ErrDenied.
func (e *AuthError) Is(target error) bool { return target == fleet.ErrDenied }

// HasStatus reports whether GitHub answered with one of the codes.
func HasStatus(err error, codes ...int) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		return false
	}
	for _, code := range codes {
		if refused.Status == code {
			return true
		}
	}
	return false
}

// needs names the permission for registering runners.
func (t Target) needs() string {
	switch t.Kind {
	case Repo:
		return "a classic token needs the scope repo and an admin of the repository; " + finer("Administration (write)")
	case Org:
		return "a classic token needs the scope admin:org and an owner of the organization; a fine-grained one and an App the organization permission Self-hosted runners (write)"
	default:
		return "a classic token with the scope manage_runners:enterprise is needed"
	}
}

// needsFor names the permission for a request, where it differs from needs.
func (t Target) needsFor(path string) string {
	switch rest, own := strings.CutPrefix(path, "/"+t.route()); {
	case t.Kind == Repo && own && rest == "":
		return "a classic token needs the scope repo; " + finer("Metadata (read)")
	case t.Kind == Repo && own && strings.HasPrefix(rest, "/actions/runs"):
		return "a classic token needs the scope repo; " + finer("Actions (read)")
	}
	return t.needs()
}

// orGroup names the other possible cause of a refused registration: GitHub has no separate
// answer for a runner group that does not exist or is not open to the target.
func (t Target) orGroup(path string) string {
	if t.Kind == Repo || !strings.HasSuffix(path, "/actions/runners/generate-jitconfig") {
		return ""
	}
	return "; GitHub gives the same answer if runners.group no longer exists or is not open to " + t.String()
}

func finer(permission string) string {
	return "a fine-grained one and an App the repository permission " + permission
}

// explained adds advice to a refusal and turns it into the right error type.
func (c *Client) explained(refused *Error, header http.Header, local time.Time) error {
	denied := func(advice string) error {
		refused.advice = advice
		return &AuthError{Err: refused, advice: advice}
	}
	switch refused.Status {
	case 0:
		refused.advice = connectionAdvice(refused.Err, c.target.Host)
	case http.StatusUnauthorized:
		if skew := clockSkew(header, local); c.auth.App != nil && skew.Abs() > maxSkew {
			return denied(fmt.Sprintf("this machine's clock is %s, and GitHub rejects an App's signature with a wrong time: set the clock (timedatectl set-ntp true)", ahead(skew)))
		}
		return denied(fmt.Sprintf("%s is not valid at %s: expired, revoked, or made for another GitHub; %s", c.auth.source(), c.target.Host, c.target.needsFor(refused.Path)))
	case http.StatusForbidden:
		if sso := header.Get("X-GitHub-SSO"); strings.Contains(sso, "url=") {
			_, url, _ := strings.Cut(sso, "url=")
			return denied("authorize " + c.auth.source() + " for the organization's single sign-on: " + oneLine(url))
		}
		if limited(refused.Status, header, refused.Message) {
			return refused
		}
		return denied(fmt.Sprintf("%s may not do this%s: %s%s", c.auth.source(), has(header), c.target.needsFor(refused.Path), c.target.orGroup(refused.Path)))
	case http.StatusNotFound:
		return denied(fmt.Sprintf("%s does not exist, or %s may not see it%s: %s%s", c.target, c.auth.source(), has(header), c.target.needsFor(refused.Path), c.target.orGroup(refused.Path)))
	case http.StatusConflict:
		refused.advice = "a runner with that name is already registered; run runnerctl again to use another name"
	case http.StatusUnprocessableEntity:
		refused.advice = "GitHub rejected the contents of the request: check runners.labels and runners.group"
	}
	return refused
}

// has returns the permissions of a token that GitHub reports with a refusal.
func has(header http.Header) string {
	var causes []string
	if scopes, given := header["X-Oauth-Scopes"]; given {
		if text := oneLine(strings.Join(scopes, ", ")); text != "" {
			causes = append(causes, "it has "+text)
		} else {
			causes = append(causes, "it has no scope")
		}
	}
	if accepted := oneLine(header.Get("X-Accepted-GitHub-Permissions")); accepted != "" {
		causes = append(causes, "GitHub asks for "+accepted)
	}
	if len(causes) == 0 {
		return ""
	}
	return " (" + strings.Join(causes, "; ") + ")"
}

// maxSkew is the largest tolerated difference between the clocks: GitHub's own tolerance for
// App keys.
const maxSkew = time.Minute

// clockSkew returns how far this machine's clock is ahead of the answering server's.
func clockSkew(header http.Header, local time.Time) time.Duration {
	theirs, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return local.Sub(theirs)
}

func ahead(skew time.Duration) string {
	word := "ahead of"
	if skew < 0 {
		word = "behind"
	}
	return fmt.Sprintf("%s %s GitHub's", skew.Abs().Round(time.Second), word)
}

var (
	htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	htmlHead  = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)>`)
	htmlTag   = regexp.MustCompile(`(?s)<[^>]*>`)
)

// gist summarizes an answer that is not GitHub's JSON in one short line.
func gist(body []byte) string {
	text := string(body)
	if title := htmlTitle.FindStringSubmatch(text); title != nil {
		text = title[1]
	} else if strings.HasPrefix(strings.TrimSpace(text), "<") {
		text = htmlTag.ReplaceAllString(htmlHead.ReplaceAllString(text, " "), " ")
	}
	return oneLine(text)
}

// oneLine turns text from outside into one short line without control characters.
func oneLine(text string) string {
	const most = 160
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
