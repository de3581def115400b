package token

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/runnerctl/runnerctl/internal/cache/durable"
)

const (
	fresh      = time.Hour        // keys are not fetched again before
	pause      = 10 * time.Second // between two fetches because of unknown keys, which any job can cause
	fetchLimit = 10 * time.Second
	mostBytes  = 1 << 20
)

// KeysURL is where an issuer publishes its keys.
func KeysURL(issuer string) string { return strings.TrimSuffix(issuer, "/") + "/.well-known/jwks" }

// Fetched are the keys of an issuer. File keeps the last ones, so that a start without the issuer works.
type Fetched struct {
	Issuer string
	Client *http.Client
	File   string
	Now    func() time.Time

	fetches singleflight.Group

	mutex  sync.Mutex // guards the fields below, and is not held during a fetch
	known  jose.JSONWebKeySet
	loaded bool
	asked  time.Time // end of the last fetch
	failed error
}

// Keys implements KeySource. Known keys are valid while the issuer does not answer. Requests with an
// unknown key, which any job can make, don't delay those with a known one.
func (f *Fetched) Keys(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	found, age, err := f.look(id)
	if len(found) > 0 && age < fresh || len(found) == 0 && age < pause {
		return found, err
	}
	fetched := f.fetches.DoChan("", func() (any, error) { return nil, f.renew(context.WithoutCancel(ctx)) })
	select {
	case <-fetched:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	found, _, err = f.look(id)
	return found, err
}

// look returns the known keys with an ID and the time since the last fetch. If there is no such key, it
// returns the error of the last fetch.
func (f *Fetched) look(id string) (found []jose.JSONWebKey, age time.Duration, err error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if !f.loaded {
		f.known, f.loaded = f.load(), true
	}
	if found = f.known.Key(id); len(found) == 0 {
		err = f.failed
	}
	return found, f.Now().Sub(f.asked), err
}

// load reads the keys of the last fetch; a file that is missing or damaged has none.
func (f *Fetched) load() (set jose.JSONWebKeySet) {
	text, err := os.ReadFile(f.File)
	if err == nil && json.Unmarshal(text, &set) == nil {
		return set
	}
	return jose.JSONWebKeySet{}
}

// renew replaces the known keys by those that the issuer publishes now, and keeps them for the next
// start. Without an answer of the issuer, they stay.
func (f *Fetched) renew(ctx context.Context) error {
	text, set, err := f.fetch(ctx)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.asked, f.failed = f.Now(), err; err != nil {
		return err
	}
	f.known = set
	f.failed = durable.Write(f.File, text)
	return f.failed
}

func (f *Fetched) fetch(ctx context.Context) (text []byte, set jose.JSONWebKeySet, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, KeysURL(f.Issuer), http.NoBody)
	if err != nil {
		return nil, set, err
	}
	reply, err := f.Client.Do(request)
	if err != nil {
		return nil, set, err
	}
	defer func() { _ = reply.Body.Close() }()
	if text, err = io.ReadAll(io.LimitReader(reply.Body, mostBytes)); err != nil {
		return nil, set, err
	}
	if reply.StatusCode != http.StatusOK {
		return nil, set, fmt.Errorf("%s: %s", request.URL, reply.Status)
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, set, fmt.Errorf("%s: %w", request.URL, err)
	}
	if len(set.Keys) == 0 {
		return nil, set, fmt.Errorf("%s: no keys", request.URL)
	}
	return text, set, nil
}
