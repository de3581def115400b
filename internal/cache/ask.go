package cache

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Request is a request to the operator's side of a cache.
type Request struct {
	Method, Path string
	Body         io.Reader // nil: none
}

// Answer is the answer to a Request.
type Answer struct {
	Value   json.RawMessage `json:"value,omitempty"`
	Problem string          `json:"problem,omitempty"` // in place of a value
	Unknown bool            `json:"unknown,omitempty"` // the problem is that there is no such entry
}

// Ask makes a request to a cache on this machine.
func Ask(ctx context.Context, socket string, of Request) (answer Answer, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialStarting(ctx, socket)
	}}}
	request, err := http.NewRequestWithContext(ctx, of.Method, "http://cache"+of.Path, of.Body)
	if err != nil {
		return answer, err
	}
	reply, err := client.Do(request)
	if err != nil {
		return answer, err
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return answer, err
	}
	if reply.StatusCode != http.StatusOK {
		return Answer{Problem: strings.TrimSpace(string(text)), Unknown: reply.StatusCode == http.StatusNotFound}, nil
	}
	return Answer{Value: text}, nil
}

// dialStarting connects to a socket, and waits until it listens.
func dialStarting(ctx context.Context, socket string) (net.Conn, error) {
	const limit, pause = 5 * time.Second, 20 * time.Millisecond
	for deadline := time.Now().Add(limit); ; time.Sleep(pause) {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return connection, err
		}
	}
}
