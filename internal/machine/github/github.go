// Package github exchanges the credential of a runner without runnerctl for a registration
// token, before any job exists: with an access token in one call, with a GitHub App's key in
// three. It imports only the machine's settings.
package github

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine"
)

const (
	callLimit = 30 * time.Second
	// tries is the number of times that a call is made if GitHub has a bad moment.
	tries = 4
	// maxAnswer limits an answer in bytes.
	maxAnswer = 4 << 20
	// maxMessage limits an error's text from GitHub in bytes.
	maxMessage = 200
)

// Client calls one GitHub.
type Client struct {
	HTTP *http.Client
	// Now is the time for an App's own token.
	Now func() time.Time
}

// RegistrationToken returns a token with which the listener registers. Target is the target in
// GitHub's API. The credential of an App has its id, the login of the installation's owner, and
// its key in base64, with spaces between them.
func (c Client) RegistrationToken(ctx context.Context, mode machine.AgentMode, target, credential string) (string, error) {
	token := credential
	if mode == machine.App {
		var err error
		if token, err = c.installationToken(ctx, target, credential); err != nil {
			return "", err
		}
	}
	var answer struct{ Token string }
	if err := c.call(ctx, token, http.MethodPost, target+"/actions/runners/registration-token", &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", errors.New("GitHub's answer has no registration token")
	}
	return answer.Token, nil
}

// api returns the address of the API that a target belongs to.
func api(target string) string {
	for _, kind := range []string{"/repos/", "/orgs/", "/enterprises/"} {
		if before, _, found := strings.Cut(target, kind); found {
			return before
		}
	}
	return target
}

func (c Client) installationToken(ctx context.Context, target, credential string) (string, error) {
	words := strings.Fields(credential)
	if len(words) != 3 {
		return "", errors.New("the App's credential is incomplete")
	}
	id, login := words[0], words[1]
	own, err := c.jwt(id, words[2])
	if err != nil {
		return "", err
	}
	var installations []struct {
		ID      int64
		Account struct{ Login string }
	}
	if err := c.call(ctx, own, http.MethodGet, api(target)+"/app/installations?per_page=100", &installations); err != nil {
		return "", err
	}
	for _, one := range installations {
		if !strings.EqualFold(one.Account.Login, login) {
			continue
		}
		var answer struct{ Token string }
		err := c.call(ctx, own, http.MethodPost, fmt.Sprintf("%s/app/installations/%d/access_tokens", api(target), one.ID), &answer)
		return answer.Token, err
	}
	return "", fmt.Errorf("the App %s is not installed for %s", id, login)
}

// jwt returns an App's own token, valid for ten minutes; one minute allows for clock
// differences.
func (c Client) jwt(id, encodedKey string) (string, error) {
	invalid := errors.New("APP_PRIVATE_KEY is not a private key in PEM")
	text, err := base64.StdEncoding.DecodeString(encodedKey)
	if err != nil {
		return "", invalid
	}
	block, _ := pem.Decode(append(bytes.ReplaceAll(text, []byte(`\n`), []byte("\n")), '\n')) // \n is common in variables
	if block == nil {
		return "", invalid
	}
	key, err := privateKey(block.Bytes)
	if err != nil {
		return "", invalid
	}
	now := c.Now()
	claims, err := json.Marshal(map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(), "iss": id})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + encode(signature), nil
}

// privateKey parses the two forms that keys come in.
func privateKey(der []byte) (*rsa.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an RSA key")
	}
	return key, nil
}

// call makes a call until GitHub answers it, and decodes the answer.
func (c Client) call(ctx context.Context, token, method, address string, answer any) error {
	var err error
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Second << (try - 1)):
			}
		}
		var again bool
		if again, err = c.once(ctx, token, method, address, answer); !again {
			break
		}
	}
	return err
}

// once makes a call. It reports whether another try may help.
func (c Client) once(ctx context.Context, token, method, address string, answer any) (again bool, err error) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, address, nil)
	if err != nil {
		return false, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/vnd.github+json")
	response, err := c.HTTP.Do(request)
	if err != nil {
		return ctx.Err() == nil, fmt.Errorf("%s %s: no answer: %w", method, address, errors.Unwrap(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return true, fmt.Errorf("%s %s: no answer: %w", method, address, err)
	}
	if response.StatusCode/100 != 2 {
		var failure struct{ Message string }
		_ = json.Unmarshal(body, &failure) // a proxy may answer in another form
		text := fmt.Sprintf("%s %s: GitHub answered %d: %s", method, address, response.StatusCode, failure.Message[:min(len(failure.Message), maxMessage)])
		return transient(response.StatusCode), errors.New(text)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return false, fmt.Errorf("%s %s: GitHub's answer is not as expected: %w", method, address, err)
	}
	return false, nil
}

func transient(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}
