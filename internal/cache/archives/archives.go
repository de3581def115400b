// Package archives keeps the archives of actions on a host, in the folder that GitHub's runner looks
// into before it downloads an action (ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE; actions/runner,
// Runner.Worker/ActionManager.cs): OWNER_REPOSITORY/COMMIT.tar.gz. An archive is kept only if its
// files are those of the commit.
package archives

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors of an archive that is not kept.
var (
	ErrName    = errors.New("not an action like actions/checkout@v4")
	ErrChanged = errors.New("its files are not those of the commit")
	ErrLarge   = errors.New("it is too large")
	ErrUnknown = errors.New("there is no archive of this commit")
	ErrLimited = errors.New("GitHub limits the requests of this host")
)

// maxArchive limits an archive, in bytes. GitHub's own actions have a few MiB.
const maxArchive = 200 << 20

// unfinished is the pattern of the names of downloads.
const unfinished = ".new-*"

// maxAnswer limits an answer about a commit, in bytes.
const maxAnswer = 1 << 20

// Archive is the archive of an action.
type Archive struct {
	Repository string    `json:"repository"` // like actions/checkout
	Commit     string    `json:"commit"`
	Size       int64     `json:"size"` // bytes
	Used       time.Time `json:"used"` // by a job or the operator
}

// Archives is the folder. All jobs of the host read it.
type Archives struct {
	Folder string
	Limit  int64 // bytes of all archives
	Client *http.Client
	Now    func() time.Time

	mutex sync.Mutex // one download at a time
}

var (
	ownerPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// Parse splits the name of an action, as in uses:. A folder within the repository is ignored.
func Parse(action string) (repository, ref string, err error) {
	path, ref, found := strings.Cut(action, "@")
	owner, rest, below := strings.Cut(path, "/")
	name, _, _ := strings.Cut(rest, "/")
	if !found || !below || ref == "" || strings.Contains(ref, "..") || !ownerPattern.MatchString(owner) || !namePattern.MatchString(name) || strings.Trim(name, ".") == "" {
		return "", "", fmt.Errorf("%q: %w", action, ErrName)
	}
	return owner + "/" + name, ref, nil
}

// Add downloads the archive of an action from the API of a GitHub, unless it is there. api is the
// API's URL.
func (a *Archives) Add(ctx context.Context, api, action string) (Archive, error) {
	repository, ref, err := Parse(action)
	if err != nil {
		return Archive{}, err
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	commit, tree, err := a.resolve(ctx, api, repository, ref)
	if err != nil {
		return Archive{}, fmt.Errorf("%s: %w", action, err)
	}
	made := Archive{Repository: repository, Commit: commit, Used: a.Now()}
	path := a.path(made)
	if info, err := os.Stat(path); err == nil {
		made.Size = info.Size()
		return made, os.Chtimes(path, made.Used, made.Used)
	}
	if made.Size, err = a.download(ctx, api, made, tree); err != nil {
		return Archive{}, fmt.Errorf("%s, commit %s: %w", action, commit, err)
	}
	return made, a.expire()
}

func (a *Archives) path(of Archive) string {
	return filepath.Join(a.Folder, strings.ReplaceAll(of.Repository, "/", "_"), of.Commit+".tar.gz")
}

// resolve returns the commit that a branch, a tag or a part of a commit's name means, and its tree
// (docs.github.com/en/rest/commits/commits#get-a-commit).
func (a *Archives) resolve(ctx context.Context, api, repository, ref string) (commit, tree string, err error) {
	answer, err := a.get(ctx, api, "repos/"+repository+"/commits/"+url.PathEscape(ref))
	if err != nil {
		return "", "", err
	}
	defer answer.Body.Close()
	var found struct {
		SHA    string
		Commit struct{ Tree struct{ SHA string } }
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&found); err != nil {
		return "", "", err
	}
	if !commitPattern.MatchString(found.SHA) || !commitPattern.MatchString(found.Commit.Tree.SHA) {
		return "", "", fmt.Errorf("GitHub names no commit for %s", ref)
	}
	return found.SHA, found.Commit.Tree.SHA, nil
}

func (a *Archives) get(ctx context.Context, api, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(api, "/")+"/"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	answer, err := a.Client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		err := fmt.Errorf("GET %s: %s", request.URL, answer.Status)
		if answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusTooManyRequests {
			err = errors.Join(ErrLimited, err)
		}
		return nil, err
	}
	return answer, nil
}

// download keeps an archive if its files have the tree.
func (a *Archives) download(ctx context.Context, api string, of Archive, tree string) (size int64, err error) {
	answer, err := a.get(ctx, api, "repos/"+of.Repository+"/tarball/"+of.Commit)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	path := a.path(of)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // jobs read it
		return 0, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(file.Name()) }() // it has another name by then, if it is kept
	defer file.Close()
	if size, err = io.Copy(file, io.LimitReader(answer.Body, maxArchive+1)); err != nil {
		return 0, err
	}
	if size > maxArchive {
		return 0, ErrLarge
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	found, err := TreeOf(file)
	if err != nil {
		return 0, err
	}
	if found != tree {
		return 0, ErrChanged
	}
	if err := errors.Join(file.Chmod(0o644), file.Sync()); err != nil {
		return 0, err
	}
	return size, os.Rename(file.Name(), path)
}

// Clean removes downloads that a crash interrupted.
func (a *Archives) Clean() error {
	left, err := filepath.Glob(filepath.Join(a.Folder, "*", unfinished))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// IsCommit reports whether a text is the name of a commit.
func IsCommit(text string) bool { return commitPattern.MatchString(text) }

// Remove removes the archives of a commit.
func (a *Archives) Remove(commit string) error {
	all, err := a.List()
	if err != nil {
		return err
	}
	err = ErrUnknown
	for _, one := range all {
		if one.Commit == commit {
			if err = os.Remove(a.path(one)); err != nil {
				return err
			}
		}
	}
	return err
}

// Prune removes the archives that were unused for longer than a duration, and returns them.
func (a *Archives) Prune(unused time.Duration) (removed []Archive, err error) {
	all, err := a.List()
	for _, one := range all {
		if a.Now().Sub(one.Used) > unused {
			removed = append(removed, one)
			err = errors.Join(err, os.Remove(a.path(one)))
		}
	}
	return removed, err
}

// List lists the archives, those used last first.
func (a *Archives) List() ([]Archive, error) {
	paths, err := filepath.Glob(filepath.Join(a.Folder, "*", "*.tar.gz"))
	if err != nil {
		return nil, err
	}
	all := []Archive{}
	for _, path := range paths {
		commit := strings.TrimSuffix(filepath.Base(path), ".tar.gz")
		info, err := os.Stat(path)
		if err != nil || !commitPattern.MatchString(commit) {
			continue
		}
		owner, name, _ := strings.Cut(filepath.Base(filepath.Dir(path)), "_")
		all = append(all, Archive{Repository: owner + "/" + name, Commit: commit, Size: info.Size(), Used: info.ModTime()})
	}
	slices.SortFunc(all, func(x, y Archive) int {
		return cmp.Or(y.Used.Compare(x.Used), strings.Compare(x.Repository, y.Repository))
	})
	return all, nil
}

// expire removes the archives that were not used for the longest time, until the others fit.
func (a *Archives) expire() error {
	all, err := a.List()
	if err != nil {
		return err
	}
	var sum int64
	for _, one := range all {
		if sum += one.Size; sum <= a.Limit {
			continue
		}
		sum -= one.Size
		if err := os.Remove(a.path(one)); err != nil {
			return err
		}
	}
	return nil
}
