package dockerx

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// mute is an engine without objects that never answers requests to create one.
type mute struct{}

func (mute) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodPost {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"message":"no such object"}`)), Request: request}, nil
}

// A creation is not cut short by an interruption, but an engine that hangs ends it.
func TestMuteEngine(t *testing.T) {
	api, err := client.NewClientWithOpts(client.WithHost("tcp://engine:1"), client.WithHTTPClient(&http.Client{Transport: mute{}}), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	engine := &Engine{api: api}
	for name, make := range map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := engine.Create(ctx, "ci-a", fleet.Spec{Fleet: "ci"}, fleet.Usual, secret.Text{})
			return err
		},
		"lock": func(ctx context.Context) error {
			_, err := engine.Lock(ctx, "ci", "runner", func() {})
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			started := time.Now()
			if err := make(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != createLimit {
				t.Errorf("%s: after %s: %v, want %v after %s", name, time.Since(started), err, context.DeadlineExceeded, createLimit)
			}
		})
	}
}
