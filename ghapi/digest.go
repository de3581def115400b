package ghapi

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-github/v60/github"
)

// published is the repository in which GitHub publishes the agent, for all its servers.
var published = Target{Kind: Repo, Host: "github.com", Owner: "actions", Repo: "runner"}

// agentRelease is the part of a release that describes its archives.
type agentRelease struct {
	Body   string `json:"body"`
	Assets []struct {
		Name   string `json:"name"`
		Digest string `json:"digest"` // "sha256:…"; newer than most releases
	} `json:"assets"`
}

var (
	hexDigest = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	noteStart = "<!-- BEGIN SHA "
)

// digest returns the digest of an archive in hex, or "" if the release has none. The release
// notes have one between <!-- BEGIN SHA linux-x64 --> and <!-- END SHA linux-x64 -->.
func (r agentRelease) digest(of Download) string {
	for _, asset := range r.Assets {
		if sum, found := strings.CutPrefix(asset.Digest, "sha256:"); found && asset.Name == of.File && hexDigest.MatchString(sum) {
			return strings.ToLower(sum)
		}
	}
	system := of.OS + "-" + of.Arch + " -->"
	_, rest, found := strings.Cut(r.Body, noteStart+system)
	sum, _, ended := strings.Cut(rest, "<!-- END SHA "+system)
	if sum = strings.TrimSpace(sum); found && ended && hexDigest.MatchString(sum) {
		return strings.ToLower(sum)
	}
	return ""
}

// addDigests fills in the digests that a target's list leaves out. They stay empty if the
// release can't be fetched; release.Choose then refuses the archive.
func (c *Client) addDigests(ctx context.Context, all []Download) {
	releases := map[string]agentRelease{}
	for i := range all {
		one := &all[i]
		if one.SHA256 != "" || one.Version == "" {
			continue
		}
		release, asked := releases[one.Version]
		if !asked {
			release, _ = c.release(ctx, one.Version)
			releases[one.Version] = release
		}
		one.SHA256 = release.digest(*one)
	}
}

// release fetches a release from github.com, without the token of another GitHub.
func (c *Client) release(ctx context.Context, version string) (release agentRelease, err error) {
	path := published.route() + "/releases/tags/v" + version
	if c.target.Host == published.Host {
		err = c.call(ctx, http.MethodGet, path, nil, &release)
		return release, err
	}
	api := github.NewClient(c.http)
	api.UserAgent = c.api.UserAgent
	public := &Client{target: published, http: c.http, api: api, budget: newBudget(), sleep: c.sleep}
	err = public.callAs(ctx, c.http.Do, request{method: http.MethodGet, path: path, out: &release})
	return release, err
}
