package ghapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/google/go-github/v60/github"
)

// Download is a release archive of GitHub's runner program.
type Download struct {
	OS      string // linux, osx, win
	Arch    string // x64, arm64, arm
	URL     string
	File    string
	SHA256  string // hex; "" if neither GitHub's list nor the release has it
	Version string // like 2.330.0
}

var archiveVersion = regexp.MustCompile(`-(\d+\.\d+\.\d+)(?:\.tar\.gz|\.zip)$`)

// Downloads lists the archives of the newest release that the target's GitHub
// offers.
func (c *Client) Downloads(ctx context.Context) ([]Download, error) {
	var list []github.RunnerApplicationDownload
	if err := c.call(ctx, http.MethodGet, c.target.route()+"/actions/runners/downloads", nil, &list); err != nil {
		return nil, fmt.Errorf("runner downloads: %w", err)
	}
	var all []Download
	for _, one := range list {
		download := Download{OS: one.GetOS(), Arch: one.GetArchitecture(), URL: one.GetDownloadURL(), File: one.GetFilename(), SHA256: one.GetSHA256Checksum()}
		if parts := archiveVersion.FindStringSubmatch(download.File); parts != nil {
			download.Version = parts[1]
		}
		all = append(all, download)
	}
	c.addDigests(ctx, all)
	return all, nil
}

// Deprecation holds the dates from which GitHub no longer accepts a version of the runner
// program.
type Deprecation struct {
	Runtime      time.Time `json:"runtime_deprecates_at"`      // no more jobs; zero if not set
	Registration time.Time `json:"registration_deprecates_at"` // no more registrations; zero if not set
}

// First returns the earlier of the two dates; zero if neither is set.
func (d Deprecation) First() time.Time {
	if d.Runtime.IsZero() || !d.Registration.IsZero() && d.Registration.Before(d.Runtime) {
		return d.Registration
	}
	return d.Runtime
}

// Deprecation returns the dates for a version. known is false if GitHub has no data on it.
func (c *Client) Deprecation(ctx context.Context, version string) (when Deprecation, known bool, err error) {
	err = c.call(ctx, http.MethodGet, c.target.route()+"/actions/runners/deprecations/"+url.PathEscape(version), nil, &when)
	if HasStatus(err, http.StatusNotFound) {
		return Deprecation{}, false, nil
	}
	if err != nil {
		return Deprecation{}, false, fmt.Errorf("deprecation of runner %s: %w", version, err)
	}
	return when, true, nil
}

// Skew returns how far the clock of the target's GitHub is ahead of this machine's. It sends
// no token, and a refusal counts as an answer too. An error means that GitHub does not answer.
func Skew(ctx context.Context, target Target, options Options) (time.Duration, error) {
	c, err := newClient(target, Auth{}, options)
	if err != nil {
		return 0, err
	}
	refused, header := c.once(ctx, c.http.Do, request{method: http.MethodGet, path: "meta"})
	if refused != nil && header == nil {
		return 0, c.explained(refused, nil, time.Now())
	}
	return -clockSkew(header, time.Now()), nil
}

var serverVersion = regexp.MustCompile(`^(\d+)\.(\d+)`)

// HasJIT reports whether the target's GitHub can make JIT configurations: all can except
// Enterprise Servers before 3.10.
func (c *Client) HasJIT(ctx context.Context) (bool, error) {
	if !c.target.IsServer() {
		return true, nil
	}
	var meta struct {
		Installed string `json:"installed_version"`
	}
	if err := c.call(ctx, http.MethodGet, "meta", nil, &meta); err != nil {
		return false, fmt.Errorf("version of %s: %w", c.target.Host, err)
	}
	parts := serverVersion.FindStringSubmatch(meta.Installed)
	if parts == nil {
		return true, nil
	}
	major, _ := strconv.Atoi(parts[1]) // the pattern matches digits only
	minor, _ := strconv.Atoi(parts[2])
	return major > 3 || major == 3 && minor >= 10, nil
}
