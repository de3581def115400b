// Package hostcache starts the cache of an engine's machine, and makes requests to it in its
// container. It may import dockerx, internal/cache and
// internal/{config,fleet,program}.
package hostcache

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cache"
	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/program"
)

// Command is the hidden command of runnerctl that runs in a cache's container. Its argument is a
// cache.Config in JSON; with two arguments, it makes a request to the cache that runs there.
const Command = "__cache"

// Wanted describes a fleet's cache.
type Wanted struct {
	Config cache.Config
	Binary string                 // the program, as program.ForSupervisor finds it
	Roots  []byte                 // PEM: the certificate authorities that it trusts
	Logins map[string]cache.Login // of the mirror; nil: those that it has
}

// LoginsOf reads the logins of a fleet's settings, and their passwords.
func LoginsOf(settings config.Config) (map[string]cache.Login, error) {
	all := map[string]cache.Login{}
	for registry, one := range settings.Cache.Logins {
		text, err := os.ReadFile(settings.Resolve(one.PasswordFile))
		if err != nil {
			return nil, &config.Error{Field: "cache.logins", Problem: err.Error()}
		}
		password := strings.TrimRight(string(text), "\r\n")
		if password == "" || strings.ContainsAny(password, "\r\n") {
			return nil, &config.Error{Field: "cache.logins", Problem: one.PasswordFile + ": expected one line, the password"}
		}
		all[registry] = cache.Login{Username: one.Username, Password: password}
	}
	return all, nil
}

// ConfigOf returns the configuration that a fleet's settings ask for; nil if they ask for no cache.
func ConfigOf(settings config.Config) (*cache.Config, error) {
	wanted := settings.Cache
	if wanted.Size == 0 {
		return nil, nil
	}
	made := cache.Config{Size: int64(wanted.Size), Actions: wanted.Actions, Registries: wanted.Registries, Upstreams: wanted.Upstreams}
	if proxy := settings.Runners.Proxy; proxy.HTTP != "" || proxy.HTTPS != "" { // it connects in the runners' place
		made.Proxy = &httpproxy.Config{HTTPProxy: proxy.HTTP, HTTPSProxy: proxy.HTTPS, NoProxy: strings.Join(proxy.NoProxy, ",")}
	}
	if settings.Target == "" {
		return &made, nil
	}
	target, err := cache.TargetOf(settings.Target)
	if err != nil {
		return nil, err
	}
	made = made.With(target)
	return &made, nil
}

// Ensure starts the cache, or replaces one with another program or configuration. It keeps the
// targets of the fleets that came before.
func (w Wanted) Ensure(ctx context.Context, engine *dockerx.Engine) error {
	found, err := engine.Cache(ctx)
	if err != nil {
		return err
	}
	before, err := configIn(found)
	if err != nil {
		return err
	}
	merged := before
	for _, one := range w.Config.Targets {
		merged = merged.With(one)
	}
	w.Config.Targets = merged.Targets
	return w.start(ctx, engine)
}

// Keep starts the cache if it does not run, and reports whether it did so. A running one stays as it
// is: the fleets of a host may have supervisors of several versions.
func (w Wanted) Keep(ctx context.Context, engine *dockerx.Engine) (started bool, err error) {
	found, err := engine.Cache(ctx)
	if err != nil || found.Running {
		return false, err
	}
	return true, w.Ensure(ctx, engine)
}

func (w Wanted) start(ctx context.Context, engine *dockerx.Engine) error {
	text, err := json.Marshal(w.Config)
	if err != nil {
		return err
	}
	facts, err := engine.Facts(ctx)
	if err != nil {
		return err
	}
	options := dockerx.CacheOptions{Command: []string{Command, string(text)}, Roots: w.Roots}
	if options.Program, err = program.ForSupervisor(w.Binary, facts.Arch); err != nil {
		return err
	}
	if err := engine.StartCache(ctx, options); err != nil || w.Logins == nil {
		return err
	}
	logins, err := json.Marshal(w.Logins) //nolint:gosec // for the cache's standard input
	if err != nil {
		return err
	}
	var nothing struct{}
	return Do(ctx, engine, cache.Request{Method: http.MethodPut, Path: "/logins", Body: bytes.NewReader(logins)}, &nothing)
}

// configIn reads the configuration of a cache back; the zero value if there is none.
func configIn(found dockerx.CacheState) (made cache.Config, err error) {
	if len(found.Command) != 2 {
		return made, nil
	}
	if err := json.Unmarshal([]byte(found.Command[1]), &made); err != nil {
		return made, fmt.Errorf("cache: its configuration: %w", err)
	}
	return made, nil
}

// NoneError reports that no cache runs.
type NoneError struct{}

func (*NoneError) Error() string { return "the cache does not run" }

// UnknownError reports that the cache has no such entry.
type UnknownError struct{ problem string }

func (e *UnknownError) Error() string { return e.problem }

// Use returns a runner's counts as its use of the cache.
func Use(count counts.Count) fleet.CacheUse {
	return fleet.CacheUse{Hits: count.Hits, Misses: count.Misses, SavedBytes: count.SavedBytes, RestoredBytes: count.RestoredBytes, ImageBytes: count.ImageBytes}
}

// Uses returns the use of the engine's cache by its runners, by their names.
func Uses(ctx context.Context, engine *dockerx.Engine) (map[string]fleet.CacheUse, error) {
	var all map[string]counts.Count
	if err := Do(ctx, engine, cache.Request{Method: http.MethodGet, Path: "/counts/runners"}, &all); err != nil {
		return nil, err
	}
	uses := map[string]fleet.CacheUse{}
	for name, count := range all {
		uses[name] = Use(count)
	}
	return uses, nil
}

// Do makes a request to the operator's side of the engine's cache, in its container.
func Do(ctx context.Context, engine *dockerx.Engine, request cache.Request, into any) error {
	found, err := engine.Cache(ctx)
	if err != nil {
		return err
	}
	if !found.Running {
		return &NoneError{}
	}
	if request.Body == nil {
		request.Body = strings.NewReader("")
	}
	var out, errs bytes.Buffer
	code, err := engine.ExecCache(ctx, found, dockerx.Command{Args: []string{Command, request.Method, request.Path}, Stdin: request.Body, Stdout: &out, Stderr: &errs})
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("cache: %s", strings.TrimPrefix(strings.TrimSpace(errs.String()), "error: "))
	}
	var answer cache.Answer
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return fmt.Errorf("cache: its answer: %w", err)
	}
	switch {
	case answer.Unknown:
		return &UnknownError{answer.Problem}
	case answer.Problem != "":
		return fmt.Errorf("cache: %s", answer.Problem)
	}
	return json.Unmarshal(answer.Value, into)
}
