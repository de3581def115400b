package ghapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// Runner is a registration as GitHub shows it.
type Runner struct {
	ID     int64
	Name   string
	Online bool // its listener is connected
	Busy   bool // it has a job
	Labels []string
}

// tidyLimit limits the time for removing a half-made registration.
const tidyLimit = 30 * time.Second

// GenerateJIT registers a runner for one job and returns its configuration, which is a secret.
// The caller must make up a name that no other runner has. If an attempt gets no answer, the
// registration that it may have left is removed and the runner is registered again. On an
// error, or if ctx ends meanwhile, no registration is left behind.
func (c *Client) GenerateJIT(ctx context.Context, name string, groupID int64, labels []string, workFolder string) (Runner, secret.Text, error) {
	body := github.GenerateJITConfigRequest{Name: name, RunnerGroupID: groupID, Labels: labels, WorkFolder: &workFolder}
	for round := 0; ; round++ {
		var made github.JITRunnerConfig
		err := c.call(ctx, http.MethodPost, c.target.route()+"/actions/runners/generate-jitconfig", body, &made)
		if ended := ctx.Err(); ended != nil && made.Runner != nil {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
			defer cancel()
			return Runner{}, secret.Text{}, fmt.Errorf("register %s: %w", name, errors.Join(ended, c.Remove(bounded, made.Runner.GetID())))
		}
		if err == nil && made.GetEncodedJITConfig() != "" {
			return fromGitHub(made.Runner), secret.New(made.GetEncodedJITConfig()), nil
		}
		if err == nil {
			err = &Error{Method: http.MethodPost, Path: "/" + c.target.route() + "/actions/runners/generate-jitconfig", Host: c.target.Host, Err: errNotJSON, Uncertain: true}
		}
		var refused *Error
		if !errors.As(err, &refused) || !refused.Uncertain {
			return Runner{}, secret.Text{}, fmt.Errorf("register %s: %w", name, err)
		}
		cleared, clearErr := c.clear(ctx, name, labels)
		if refused.Status != http.StatusConflict || !cleared || round == 2 {
			return Runner{}, secret.Text{}, fmt.Errorf("register %s: %w", name, errors.Join(err, clearErr))
		}
	}
}

// clear removes the registration that an unanswered attempt may have left. It must have all
// requested labels, and be neither online nor busy.
func (c *Client) clear(ctx context.Context, name string, labels []string) (bool, error) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
	defer cancel()
	found, err := c.RunnerByName(bounded, name)
	if err != nil || found == nil || found.Online || found.Busy || !found.HasLabels(labels) {
		return false, err
	}
	return true, c.Remove(bounded, found.ID)
}

// HasLabels reports whether a runner has all of the labels. It ignores case.
func (r Runner) HasLabels(labels []string) bool {
	has := map[string]bool{}
	for _, label := range r.Labels {
		has[strings.ToLower(label)] = true
	}
	for _, label := range labels {
		if !has[strings.ToLower(label)] {
			return false
		}
	}
	return true
}

// RegistrationToken returns a token with which an agent can register itself, within an hour.
func (c *Client) RegistrationToken(ctx context.Context) (secret.Text, error) {
	return c.token(ctx, "registration-token")
}

// RemoveToken returns a token with which an agent can remove its own registration, within an
// hour.
func (c *Client) RemoveToken(ctx context.Context) (secret.Text, error) {
	return c.token(ctx, "remove-token")
}

func (c *Client) token(ctx context.Context, what string) (secret.Text, error) {
	var made struct{ Token string }
	if err := c.call(ctx, http.MethodPost, c.target.route()+"/actions/runners/"+what, nil, &made); err != nil {
		return secret.Text{}, fmt.Errorf("%s: %w", what, err)
	}
	return secret.New(made.Token), nil
}

// Runners lists all registrations of the target. They may change between two pages, so a
// registration that is missing from the list may exist; RunnerByName finds it.
func (c *Client) Runners(ctx context.Context) ([]Runner, error) {
	return c.runners(ctx, "")
}

// RunnerByName finds one registration. It returns nil if no registration has the name.
func (c *Client) RunnerByName(ctx context.Context, name string) (*Runner, error) {
	found, err := c.runners(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, one := range found { // a server that does not know the filter returns all runners
		if one.Name == name {
			return &one, nil
		}
	}
	return nil, nil
}

const perPage = 100

func (c *Client) runners(ctx context.Context, name string) ([]Runner, error) {
	var all []Runner
	seen := map[int64]bool{}
	for page, got := 1, 0; ; page++ {
		query := url.Values{"per_page": {fmt.Sprint(perPage)}, "page": {fmt.Sprint(page)}}
		if name != "" {
			query.Set("name", name)
		}
		var list github.Runners
		if err := c.call(ctx, http.MethodGet, c.target.route()+"/actions/runners?"+query.Encode(), nil, &list); err != nil {
			return nil, fmt.Errorf("list runners of %s: %w", c.target, err)
		}
		for _, one := range list.Runners {
			if runner := fromGitHub(one); !seen[runner.ID] {
				seen[runner.ID] = true
				all = append(all, runner)
			}
		}
		if got += len(list.Runners); len(list.Runners) == 0 || got >= list.TotalCount {
			return all, nil
		}
	}
}

func fromGitHub(one *github.Runner) Runner {
	if one == nil {
		return Runner{}
	}
	runner := Runner{ID: one.GetID(), Name: one.GetName(), Online: one.GetStatus() == "online", Busy: one.GetBusy()}
	for _, label := range one.Labels {
		runner.Labels = append(runner.Labels, label.GetName())
	}
	return runner
}

// BusyError reports that a registration can't be removed because its runner has a job.
type BusyError struct {
	ID  int64
	Err error // GitHub's refusal
}

func (e *BusyError) Error() string { return fmt.Sprintf("runner %d has a job: %v", e.ID, e.Err) }

// Unwrap returns GitHub's refusal.
func (e *BusyError) Unwrap() error { return e.Err }

// Remove deletes a registration. If it is already gone, that is not an error. A *BusyError is
// GitHub's answer that the runner has a job at this moment.
func (c *Client) Remove(ctx context.Context, id int64) error {
	err := c.call(ctx, http.MethodDelete, fmt.Sprintf("%s/actions/runners/%d", c.target.route(), id), nil, nil)
	switch {
	case HasStatus(err, http.StatusNotFound):
		return nil
	case HasStatus(err, http.StatusUnprocessableEntity, http.StatusConflict):
		return &BusyError{ID: id, Err: err}
	case err != nil:
		return fmt.Errorf("remove runner %d: %w", id, err)
	}
	return nil
}

// Group is a group of runners.
type Group struct {
	ID           int64
	Name         string
	AllowsPublic bool // public repositories may use it
}

// DefaultGroup is the group of runners for which no other is named.
const DefaultGroup = "Default"

// GroupByName finds a runner group; "" is the default group. Repositories have no other.
func (c *Client) GroupByName(ctx context.Context, name string) (Group, error) {
	isDefault := name == "" || strings.EqualFold(name, DefaultGroup)
	if c.target.Kind == Repo {
		if !isDefault {
			return Group{}, &GroupError{Target: c.target, Name: name, Known: []string{DefaultGroup}}
		}
		return Group{ID: 1, Name: DefaultGroup}, nil
	}
	var known []string
	for page, got := 1, 0; ; page++ {
		var list github.RunnerGroups
		err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/actions/runner-groups?per_page=%d&page=%d", c.target.route(), perPage, page), nil, &list)
		if isDefault && HasStatus(err, http.StatusNotFound) {
			return Group{ID: 1, Name: DefaultGroup}, nil // the plan has no groups
		}
		if err != nil {
			return Group{}, fmt.Errorf("runner groups of %s: %w", c.target, err)
		}
		for _, one := range list.RunnerGroups {
			if isDefault && one.GetDefault() || strings.EqualFold(one.GetName(), name) {
				return Group{ID: one.GetID(), Name: one.GetName(), AllowsPublic: one.GetAllowsPublicRepositories()}, nil
			}
			known = append(known, one.GetName())
		}
		if got += len(list.RunnerGroups); len(list.RunnerGroups) == 0 || got >= list.TotalCount {
			return Group{}, &GroupError{Target: c.target, Name: name, Known: known}
		}
	}
}

// GroupError reports that a target has no such runner group.
type GroupError struct {
	Target Target
	Name   string
	Known  []string
}

func (e *GroupError) Error() string {
	return fmt.Sprintf("runners.group %q: %s has no such group", e.Name, e.Target)
}

// Hint returns advice for the user.
func (e *GroupError) Hint() string {
	if e.Target.Kind == Repo {
		return "runners of a repository have no groups: remove runners.group"
	}
	return "it has " + strings.Join(e.Known, ", ")
}

// Public reports whether pull requests of strangers may reach the target's runners: the
// repository is public, or public repositories may use the group.
func (c *Client) Public(ctx context.Context, group Group) (bool, error) {
	if c.target.Kind != Repo {
		return group.AllowsPublic, nil
	}
	var repository github.Repository
	if err := c.call(ctx, http.MethodGet, c.target.route(), nil, &repository); err != nil {
		return false, fmt.Errorf("visibility of %s: %w", c.target, err)
	}
	if visibility := repository.GetVisibility(); visibility != "" {
		return visibility == "public", nil
	}
	return !repository.GetPrivate(), nil
}
