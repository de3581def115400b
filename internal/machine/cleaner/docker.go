//go:build linux

package cleaner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/docker"
)

const (
	// dockerLimit is the time for dockerd's part, less than the hook's limit: a job may listen on
	// the socket.
	dockerLimit = 4 * time.Minute
	// maxAnswer limits an answer in bytes.
	maxAnswer = 16 << 20
	// tidyTries is how often the objects are removed: a container may be on its way out.
	tidyTries = 10
	// restartLimit and restartPause are for another start of dockerd.
	restartLimit = 30 * time.Second
	restartPause = 100 * time.Millisecond
)

// daemon is the machine's dockerd.
type daemon struct {
	socket string
	pause  time.Duration // between two tries
}

// clean removes a swarm, and the objects that jobs left.
func (d daemon) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), dockerLimit)
	defer cancel()
	return errors.Join(d.leaveSwarm(ctx), d.tidy(ctx))
}

// leaveSwarm also restarts dockerd, if there was a swarm: otherwise dockerd continues to create
// and remove objects of the swarm, and can't remove networks that need a manager.
func (d daemon) leaveSwarm(ctx context.Context) error {
	err := d.call(ctx, http.MethodPost, "/swarm/leave?force=1", nil)
	if err != nil {
		if strings.Contains(err.Error(), "not part of a swarm") {
			return nil
		}
		return err
	}
	before, err := d.listener()
	if err != nil {
		return err
	}
	if err := unix.Kill(before, unix.SIGTERM); err != nil {
		return fmt.Errorf("dockerd: %w", err)
	}
	for end := time.Now().Add(restartLimit); time.Now().Before(end); time.Sleep(restartPause) {
		if now, err := d.listener(); err == nil && now != before {
			if _, ok := docker.Ping(d.socket); ok {
				return nil
			}
		}
	}
	return errors.New("dockerd did not start again after a swarm")
}

// listener returns the PID of the process that listens on the socket. Another process of a job
// may have dockerd's name.
func (d daemon) listener() (pid int, err error) {
	connection, err := net.DialTimeout("unix", d.socket, time.Second)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	raw, err := connection.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	if failed := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	switch {
	case peer.Pid == 1: // the init gave its socket to dockerd
		return childOfInit(processes("/proc"), "dockerd")
	case peer.Pid < 1: // a signal would reach other processes
		return 0, fmt.Errorf("no process listens on %s", d.socket)
	}
	return int(peer.Pid), nil
}

// tidy removes containers, networks and volumes that jobs left, except the containers of the
// running job, which the agent itself removes. Images and the build cache are kept.
func (d daemon) tidy(ctx context.Context) (err error) {
	for range tidyTries {
		if err = d.tidyOnce(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(d.pause)
	}
	return err
}

// object is a container, a network or a volume.
type object struct {
	ID   string `json:"Id"`
	Name string
}

func (d daemon) tidyOnce(ctx context.Context) error {
	networks, err := d.networks(ctx)
	if err != nil {
		return err
	}
	running := map[string]bool{}
	for _, network := range networks {
		if !ofAgent(network) {
			continue
		}
		var inspected struct{ Containers map[string]struct{} }
		if err := d.call(ctx, http.MethodGet, "/networks/"+url.PathEscape(network.ID), &inspected); err != nil {
			return err
		}
		for id := range inspected.Containers {
			running[id] = true
		}
	}
	var containers []object
	if err := d.call(ctx, http.MethodGet, "/containers/json?all=1", &containers); err != nil {
		return err
	}
	if err := d.remove(ctx, "/containers/%s?force=1&v=1", left(containers, running)); err != nil {
		return err
	}
	if networks, err = d.networks(ctx); err != nil {
		return err
	}
	if err := d.remove(ctx, "/networks/%s", leftNetworks(networks)); err != nil {
		return err
	}
	var volumes struct{ Volumes []object }
	if err := d.call(ctx, http.MethodGet, "/volumes?filters="+url.QueryEscape(`{"dangling":["true"]}`), &volumes); err != nil {
		return err
	}
	var names []string
	for _, volume := range volumes.Volumes {
		names = append(names, volume.Name)
	}
	return d.remove(ctx, "/volumes/%s", names)
}

// networks lists the networks that are not dockerd's own.
func (d daemon) networks(ctx context.Context) (all []object, err error) {
	err = d.call(ctx, http.MethodGet, "/networks?filters="+url.QueryEscape(`{"type":["custom"]}`), &all)
	return all, err
}

// ofAgent reports whether the agent created a network, for the containers of the running job.
func ofAgent(network object) bool { return strings.HasPrefix(network.Name, "github_network_") }

// left returns the containers that are not those of the running job.
func left(containers []object, running map[string]bool) (ids []string) {
	for _, one := range containers {
		if !running[one.ID] {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

// leftNetworks returns the networks of jobs. dockerd keeps docker_gwbridge of a swarm.
func leftNetworks(networks []object) (ids []string) {
	for _, one := range networks {
		if !ofAgent(one) && one.Name != "docker_gwbridge" {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

// remove removes objects. An object that is gone is removed already.
func (d daemon) remove(ctx context.Context, path string, names []string) error {
	var problems []error
	for _, name := range names {
		if err := d.call(ctx, http.MethodDelete, fmt.Sprintf(path, url.PathEscape(name)), nil); !errors.Is(err, errNotFound) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

var errNotFound = errors.New("not found")

// call calls the API. The path has no version, because no version is both old enough for Docker 24
// and new enough for Docker 29.
func (d daemon) call(ctx context.Context, method, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, request.URL.Path, errors.Unwrap(err)) // without the filters
	}
	defer response.Body.Close()
	body := json.NewDecoder(io.LimitReader(response.Body, maxAnswer))
	switch {
	case response.StatusCode == http.StatusNotFound:
		return errNotFound
	case response.StatusCode >= http.StatusBadRequest:
		problem := struct{ Message string }{response.Status}
		_ = body.Decode(&problem)                                            // without a message, the status is one
		return fmt.Errorf("Error response from daemon: %s", problem.Message) //nolint:staticcheck // docker's words
	case answer == nil:
		return nil
	}
	if err := body.Decode(answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, request.URL.Path, err)
	}
	return nil
}
