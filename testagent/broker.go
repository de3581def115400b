package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// broker is the service that a runner gets its messages from. Requests have the fields of
// GitHub's own runner (actions/runner at 258d6c8, Sdk/WebApi/WebApi/BrokerHttpClient.cs).
type broker struct {
	address string // ends with a slash
	client  *http.Client
	agent   *protocol.TaskAgent
	key     any

	session string

	mu    sync.Mutex // guards all fields below
	token string
}

// refusal is an answer that reports an error.
type refusal struct {
	status int
	Kind   string `json:"errorKind"`
	Type   string `json:"typeName"`
	Words  string `json:"errorMessage"`
	body   string
}

func (r *refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", r.status, r.Kind+r.Type, r.body))
}

// kind returns the broker's word for the reason of a refusal; "" if err is not the broker's.
func kind(err error) string {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.Kind + refused.Type
	}
	return ""
}

// authorize requests another token for the runner.
func (b *broker) authorize() error {
	reply, err := b.agent.Authorize(b.client, b.key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.token = reply.AccessToken
	return nil
}

// nothing reports an answer without content.
var nothing = errors.New("no message")

// send sends a request with the runner's token, and decodes JSON into reply unless it is nil.
func (b *broker) send(ctx context.Context, method, address string, body, reply any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = strings.NewReader(string(encoded))
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	b.mu.Lock()
	request.Header.Set("Authorization", "Bearer "+b.token)
	b.mu.Unlock()
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode/100 != 2:
		refused := &refusal{status: response.StatusCode, body: string(text)}
		_ = json.Unmarshal(text, refused) // it may be no JSON
		return refused
	case response.StatusCode == http.StatusAccepted || response.StatusCode == http.StatusNoContent:
		return nothing
	case reply == nil || len(text) == 0:
		return nil
	}
	return json.Unmarshal(text, reply)
}

// connect makes a session. It requests another token first, because the registration may be
// gone.
func (b *broker) connect(ctx context.Context) error {
	if err := b.authorize(); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	var made struct {
		SessionID string `json:"sessionId"`
	}
	err = b.send(ctx, http.MethodPost, b.address+"session", map[string]any{
		"sessionId": "00000000-0000-0000-0000-000000000000", "ownerName": fmt.Sprintf("%s (PID: %d)", host, os.Getpid()), "useFipsEncryption": false,
		"agent": map[string]any{"id": b.agent.ID, "name": b.agent.Name, "version": version, "osDescription": runtime.GOOS, "ephemeral": nil, "status": 0, "provisioningState": nil},
	}, &made)
	if err == nil {
		b.session = made.SessionID
	}
	return err
}

// disconnect ends the session. If the runner is ephemeral and done, GitHub has ended the
// session already and refuses.
func (b *broker) disconnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = b.send(ctx, http.MethodDelete, b.address+"session", nil, nil)
}

func (b *broker) query(status string) url.Values {
	return url.Values{"sessionId": {b.session}, "status": {status}, "runnerVersion": {version}, "os": {"Linux"}, "architecture": {architecture()}}
}

// message waits for the next message. It returns the error nothing if none comes for a while.
func (b *broker) message(ctx context.Context, status string) (*protocol.TaskAgentMessage, error) {
	query := b.query(status)
	query.Set("disableUpdate", "true")
	message := &protocol.TaskAgentMessage{}
	if err := b.send(ctx, http.MethodGet, b.address+"message?"+query.Encode(), nil, message); err != nil {
		return nil, err
	}
	return message, nil
}

// acknowledge confirms that a job has arrived.
func (b *broker) acknowledge(ctx context.Context, request string) error {
	return b.send(ctx, http.MethodPost, b.address+"acknowledge?"+b.query("Online").Encode(), map[string]string{"runnerRequestId": request}, nil)
}
