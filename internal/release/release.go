// Package release finds, fetches and checks the archives that go into the image: GitHub's
// agent and buildx.
package release

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Archive is one release archive. Its SHA-256 is known before it is used.
type Archive struct {
	Version string // like 2.330.0; "" where unknown
	SHA256  string // in hex
	Source  string // file or URL
	What    string // for messages; "" for the agent's archive
}

func (a Archive) what() string { return cmp.Or(a.What, "agent archive") }

// Name returns the archive's version, or else the beginning of its hash.
func (a Archive) Name() string {
	if a.Version != "" {
		return a.Version
	}
	return "sha256:" + a.SHA256[:12]
}

// Remote reports whether a source is a URL and not a file.
func Remote(source string) bool {
	return strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "http://")
}

var fileName = regexp.MustCompile(`^actions-runner-linux-[a-z0-9]+-([0-9]+\.[0-9]+\.[0-9]+)\.tar\.gz$`)

// Given returns the archive that the settings name: a URL with its hash, or a file. A file's
// hash is computed, and compared with wanted unless that is "".
func Given(source, wanted string) (Archive, error) {
	return given(Archive{Source: source, SHA256: wanted}, fileName)
}

// given completes an archive: its version from its file name, its hash from the file.
func given(archive Archive, name *regexp.Regexp) (Archive, error) {
	source := archive.Source
	archive.SHA256 = strings.ToLower(archive.SHA256)
	if parts := name.FindStringSubmatch(source[strings.LastIndexAny(source, `/\`)+1:]); parts != nil {
		archive.Version = parts[1]
	}
	if Remote(source) {
		return archive, nil
	}
	got, err := hashOf(source)
	if err != nil {
		return Archive{}, fmt.Errorf("%s: %w", archive.what(), err)
	}
	if archive.SHA256 != "" && archive.SHA256 != got {
		return Archive{}, &MismatchError{What: archive.what(), Source: source, Want: archive.SHA256, Got: got}
	}
	archive.SHA256 = got
	return archive, nil
}

func hashOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Offer is an archive in GitHub's list.
type Offer struct {
	OS   string // linux, osx, win
	Arch string // x64, arm64, arm
	Archive
}

// Latest is the version that stands for the newest one.
const Latest = "latest"

// architectures maps the engine's words for architectures to GitHub's.
var architectures = map[string]string{"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}

// Choose returns the archive of a version for an engine's architecture. GitHub offers only
// the newest version; an older one needs its hash in wanted, which is "" if not given.
func Choose(offers []Offer, version, arch, wanted string) (Archive, error) {
	for _, offer := range offers {
		if offer.OS != "linux" || offer.Arch != architectures[arch] || version != Latest && version != offer.Version {
			continue
		}
		switch {
		case offer.SHA256 == "" && wanted == "":
			return Archive{}, &UnknownHashError{Version: offer.Version}
		case offer.SHA256 == "":
			offer.SHA256 = strings.ToLower(wanted)
		case wanted != "" && !strings.EqualFold(wanted, offer.SHA256):
			return Archive{}, &MismatchError{Source: offer.Source, Want: wanted, Got: offer.SHA256}
		}
		return offer.Archive, nil
	}
	name := architectures[arch]
	switch {
	case version == Latest || name == "":
		return Archive{}, fmt.Errorf("GitHub offers no agent for %s (version %s)", arch, version)
	case wanted == "":
		return Archive{}, &UnknownHashError{Version: version}
	}
	return Archive{
		Version: version, SHA256: strings.ToLower(wanted),
		Source: fmt.Sprintf("https://github.com/actions/runner/releases/download/v%s/actions-runner-linux-%s-%[1]s.tar.gz", version, name),
	}, nil
}

// UnknownHashError means that an archive could not be checked.
type UnknownHashError struct{ Version string }

func (e *UnknownHashError) Error() string {
	return "GitHub's list has no SHA-256 of " + e.Version + " of the agent"
}

// Hint returns advice for the user.
func (e *UnknownHashError) Hint() string {
	return "set image.agent.sha256 to the value on github.com/actions/runner/releases/tag/v" + e.Version + ", or image.agent.version to latest"
}

// MismatchError means that an archive does not have the expected hash.
type MismatchError struct{ What, Source, Want, Got string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s %s: its SHA-256 is %s, expected %s", cmp.Or(e.What, "agent archive"), e.Source, e.Got, e.Want)
}

// Hint returns advice for the user.
func (e *MismatchError) Hint() string {
	return "it was changed or truncated: download it again from GitHub's release page, which also shows the hash"
}

// stallLimit is how long a download may receive nothing.
const stallLimit = 30 * time.Second

var errStalled = fmt.Errorf("no data for %s", stallLimit)

// Fetch returns the archive as a file. A remote archive is downloaded into the cache folder
// unless it is there, and kept only if its hash is right; a cached file with a wrong hash is
// downloaded again. progress gets bytes; total is -1 if unknown.
func (a Archive) Fetch(ctx context.Context, client *http.Client, cache string, progress func(done, total int64)) (path string, err error) {
	if !Remote(a.Source) {
		return a.Source, nil
	}
	path = filepath.Join(cache, a.SHA256+".tar.gz")
	if got, err := hashOf(path); err == nil && got == a.SHA256 {
		return path, nil
	}
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("%s %s: %w", a.what(), a.Source, err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return failed(err)
	}
	moving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	request, err := http.NewRequestWithContext(moving, http.MethodGet, a.Source, nil)
	if err != nil {
		return failed(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return failed(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return failed(fmt.Errorf("the server answered %s", response.Status))
	}
	part, err := os.CreateTemp(cache, "part-")
	if err != nil {
		return failed(err)
	}
	defer func() {
		part.Close()
		_ = os.Remove(part.Name()) // gone if it was renamed
	}()
	sum := sha256.New()
	stalled := time.AfterFunc(stallLimit, func() { stop(errStalled) })
	defer stalled.Stop()
	counted := &counter{total: response.ContentLength, tell: func(done, total int64) {
		stalled.Reset(stallLimit)
		progress(done, total)
	}}
	if _, err := io.Copy(io.MultiWriter(part, sum, counted), response.Body); err != nil {
		if cause := context.Cause(moving); errors.Is(cause, errStalled) {
			err = cause
		}
		return failed(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.SHA256 {
		return "", &MismatchError{What: a.what(), Source: a.Source, Want: a.SHA256, Got: got}
	}
	if err := part.Close(); err != nil {
		return failed(err)
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return failed(err)
	}
	return path, nil
}

type counter struct {
	done, total int64
	tell        func(done, total int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.done += int64(len(p))
	c.tell(c.done, c.total)
	return len(p), nil
}
