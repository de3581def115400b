// Package token verifies the runtime tokens of jobs (ACTIONS_RUNTIME_TOKEN). Trust in a cache is
// GitHub's: only its signature says which repository a job belongs to, and which scopes of that
// repository's cache the job may read and write.
package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// GitHub is the issuer of the tokens of github.com. GitHub Enterprise Server issues its own, at
// https://HOST/_services/token, and so does each ghe.com tenant, at
// https://token.actions.TENANT.ghe.com.
const GitHub = "https://token.actions.githubusercontent.com"

// leeway is the tolerated difference between the clocks of the issuer and of this machine.
const leeway = 5 * time.Minute

// ErrRefused is the cause of all errors about the token itself. All others are about the
// issuer's keys, which could not be fetched.
var ErrRefused = errors.New("refused token")

// Identity is the content of a verified token.
type Identity struct {
	Repository string  // the repository's number, which does not change with its name
	Scopes     []Scope // in the order in which a restore searches them
	Job        string  // run and job: no two jobs have the same
}

// Scope is a part of a repository's cache, usually of one branch.
type Scope struct {
	Name  string // a reference, like refs/heads/main
	Write bool   // all scopes can be read
}

// Writable returns the first scope that the job may write to.
func (i Identity) Writable() (string, bool) {
	for _, scope := range i.Scopes {
		if scope.Write {
			return scope.Name, true
		}
	}
	return "", false
}

// Readable returns the names of the scopes that the job may read.
func (i Identity) Readable() (names []string) {
	for _, scope := range i.Scopes {
		names = append(names, scope.Name)
	}
	return names
}

// KeySource returns the issuer's public keys with an ID.
type KeySource interface {
	Keys(ctx context.Context, id string) ([]jose.JSONWebKey, error)
}

// Verifier verifies tokens of one issuer.
type Verifier struct {
	Issuer string
	Keys   KeySource
	Now    func() time.Time
}

// claims are those of a runtime token that matter here. Access is JSON in a string
// (falcondev-oss/github-actions-cache-server, lib/auth.ts; tonistiigi/go-actions-cache, cache.go).
type claims struct {
	jwt.Claims
	Access     string `json:"ac"`
	Repository string `json:"repository_id"`
	Scope      string `json:"scp"`
}

// access is an element of the claim ac.
type access struct {
	Scope      string
	Permission int // bits: 1 read, 2 write
}

const (
	read  = 1
	write = 2
)

// Verify returns the identity of a token. The same keys sign the ID tokens that any job may
// request for another service: a token that grants no access to a cache is refused.
func (v Verifier) Verify(ctx context.Context, text string) (Identity, error) {
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	found, err := v.verified(ctx, parsed)
	if err != nil {
		return Identity{}, err
	}
	if found.Expiry == nil {
		return Identity{}, fmt.Errorf("%w: it does not expire", ErrRefused)
	}
	if err := found.ValidateWithLeeway(jwt.Expected{Issuer: v.Issuer, Time: v.Now()}, leeway); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return found.identity()
}

// Issuer returns the issuer that a token names, unverified: it only selects the Verifier.
func Issuer(text string) string {
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return ""
	}
	var named jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&named) != nil {
		return ""
	}
	return named.Issuer
}

// verified returns the claims of a token that one of the issuer's keys has signed.
func (v Verifier) verified(ctx context.Context, parsed *jwt.JSONWebToken) (found claims, err error) {
	if len(parsed.Headers) != 1 || parsed.Headers[0].KeyID == "" {
		return claims{}, fmt.Errorf("%w: it names no key", ErrRefused)
	}
	id := parsed.Headers[0].KeyID
	keys, err := v.Keys.Keys(ctx, id)
	if err != nil {
		return claims{}, fmt.Errorf("keys of %s: %w", v.Issuer, err)
	}
	err = fmt.Errorf("no key %q", id)
	for _, key := range keys {
		if !key.IsPublic() || key.Use == "enc" {
			continue
		}
		var signed claims
		if err = parsed.Claims(key.Key, &signed); err == nil {
			return signed, nil
		}
	}
	return claims{}, fmt.Errorf("%w: %w", ErrRefused, err)
}

// identity reads the claims about the cache.
func (c claims) identity() (Identity, error) {
	var all []access
	if err := json.Unmarshal([]byte(c.Access), &all); err != nil {
		return Identity{}, fmt.Errorf("%w: its claim ac: %w", ErrRefused, err)
	}
	if c.Repository == "" {
		return Identity{}, fmt.Errorf("%w: it has no claim repository_id", ErrRefused)
	}
	got := Identity{Repository: c.Repository, Job: job(c.Scope)}
	for _, one := range all {
		if one.Scope != "" && one.Permission&(read|write) != 0 {
			got.Scopes = append(got.Scopes, Scope{Name: one.Scope, Write: one.Permission&write != 0})
		}
	}
	if len(got.Scopes) == 0 {
		return Identity{}, fmt.Errorf("%w: it grants no access to a cache", ErrRefused)
	}
	if got.Job == "" {
		return Identity{}, fmt.Errorf("%w: its claim scp names no job", ErrRefused)
	}
	return got, nil
}

// job returns the ids of run and job in the claim scp (actions/toolkit,
// packages/artifact/src/internal/shared/util.ts).
func job(scopes string) string {
	for _, scope := range strings.Fields(scopes) {
		if ids, found := strings.CutPrefix(scope, "Actions.Results:"); found && strings.Count(ids, ":") == 1 {
			return ids
		}
	}
	return ""
}
