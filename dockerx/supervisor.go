package dockerx

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

const (
	// supervisorTag is the prefix of the tags of supervisors' images.
	supervisorTag = "runnerctl/supervisor:"
	// SupervisorSocket is the path of the engine's socket in a supervisor's container.
	SupervisorSocket = "/var/run/docker.sock"
	// CredentialFile is the path, in that container, of the credential that StartSupervisor
	// was given.
	CredentialFile = credentialFolder + "/" + credentialName

	// ScratchFolder is the folder, in that container, for temporary files.
	ScratchFolder = stateFolder + "/scratch"

	credentialFolder = "/credential"     //nolint:gosec // a path
	credentialName   = "credential.json" //nolint:gosec // a path
	stateFolder      = "/state"

	supervisorProgram = "/runnerctl"
	supervisorRoots   = "/etc/ssl/certs/ca-certificates.crt"
	supervisorStop    = 20        // seconds; it leaves the runners as they are
	supervisorMemory  = 256 << 20 // bytes; it uses a tenth
	supervisorPids    = 256
)

func supervisorName(fleetName string) string   { return "runnerctl-supervisor-" + fleetName }
func stateVolume(fleetName string) string      { return "runnerctl-state-" + fleetName }
func credentialVolume(fleetName string) string { return "runnerctl-credential-" + fleetName }

// SupervisorOptions describes a supervisor in the background: a container with one program.
type SupervisorOptions struct {
	Fleet   string
	Program string   // file: static, for the engine's OS and architecture
	Roots   []byte   // PEM: the certificate authorities that it trusts
	Socket  string   // of the engine, on its machine
	Command []string // arguments of the program
}

// supervisorConfig is the security model of the one container that has the engine's socket.
// Access to that socket means root on the engine's machine, so the container holds nothing
// but runnerctl's own program, offers no way in, and no runner reaches it. Golden-tested.
func supervisorConfig(options SupervisorOptions, reference string) (*container.Config, *container.HostConfig) {
	stop, pids := supervisorStop, int64(supervisorPids)
	config := &container.Config{
		Image: reference, User: "0:0", Labels: ownLabels(options.Fleet, roleSupervisor),
		Entrypoint: append([]string{supervisorProgram}, options.Command...), Cmd: []string{}, StopTimeout: &stop,
	}
	host := &container.HostConfig{
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: true,
		// The supervisor reaches GitHub as the host does, and serves metrics on the host's
		// own loopback address, which no runner reaches.
		NetworkMode: "host",
		UsernsMode:  "host", // else, with an engine that remaps users, the socket would have another owner
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: options.Socket, Target: SupervisorSocket, ReadOnly: true},
			{Type: mount.TypeVolume, Source: stateVolume(options.Fleet), Target: stateFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
			{Type: mount.TypeVolume, Source: credentialVolume(options.Fleet), Target: credentialFolder, ReadOnly: true, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
		},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		Resources:     container.Resources{Memory: supervisorMemory, PidsLimit: &pids},
	}
	return config, host
}

// programImage ensures that an image of the program and the authorities exists, and returns its
// tag. It reads the file twice instead of keeping it: it is a quarter of a supervisor's memory.
func (e *Engine) programImage(ctx context.Context, program string, roots []byte) (reference string, err error) {
	sum := sha256.New()
	if err := packProgram(sum, program, roots); err != nil {
		return "", fmt.Errorf("supervisor's image: %w", err)
	}
	reference = supervisorTag + hex.EncodeToString(sum.Sum(nil))[:12]
	if id, err := e.ImageID(ctx, reference); err != nil || id != "" {
		return reference, err
	}
	tree, packed := io.Pipe()
	go func() { _ = packed.CloseWithError(packProgram(packed, program, roots)) }()
	defer func() { _ = tree.Close() }()
	if err := e.importImage(ctx, tree, reference, roleSupervisor); err != nil {
		return "", fmt.Errorf("supervisor's image: %w", err)
	}
	return reference, nil
}

// withProgramImage calls use with the tag of that image. prune removes an image that no container
// uses; if that happens before use has created its container, both are repeated.
func (e *Engine) withProgramImage(ctx context.Context, program string, roots []byte, use func(reference string) error) error {
	for attempt := 0; ; attempt++ {
		reference, err := e.programImage(ctx, program, roots)
		if err == nil {
			err = use(reference)
		}
		if !cerrdefs.IsNotFound(err) || attempt == startAttempts {
			return err
		}
	}
}

// packProgram writes the file tree of that image.
func packProgram(to io.Writer, program string, roots []byte) error {
	file, err := os.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	out := tar.NewWriter(to)
	for _, one := range []struct {
		name    string
		mode    int64
		size    int64
		content io.Reader
	}{{supervisorProgram, 0o755, info.Size(), file}, {supervisorRoots, 0o644, int64(len(roots)), bytes.NewReader(roots)}} {
		if err := out.WriteHeader(&tar.Header{Name: one.name[1:], Mode: one.mode, Size: one.size}); err != nil {
			return err
		}
		if _, err := io.Copy(out, one.content); err != nil {
			return err
		}
	}
	return out.Close()
}

// importImage creates an image from a file tree. The label with its role identifies the image
// if its creator was killed.
func (e *Engine) importImage(ctx context.Context, tree io.Reader, reference, role string) error {
	stream, err := e.api.ImageImport(ctx, image.ImportSource{Source: tree, SourceName: "-"}, reference, image.ImportOptions{Changes: []string{
		"LABEL " + labelRole + "=" + role + " " + labelSchema + "=" + strconv.Itoa(schema),
	}})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	err = jsonmessage.DisplayJSONMessagesStream(stream, io.Discard, 0, false, nil)
	_ = stream.Close()
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// SupervisorState describes a fleet's supervisor, as the engine reports it.
type SupervisorState struct {
	ContainerID string // "" if there is no supervisor
	Foreground  bool   // it is a separate process, and the container its hold
	Running     bool   // or just being restarted
	Image       string // tag
	Command     []string
	Started     time.Time
	ExitCode    int // of the last end, while it does not run
	Restarts    int // by the engine, after it ended
}

// Supervisor looks up a fleet's supervisor.
func (e *Engine) Supervisor(ctx context.Context, fleetName string) (SupervisorState, error) {
	name := supervisorName(fleetName)
	info, err := e.api.ContainerInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return SupervisorState{}, nil
	}
	if err != nil {
		return SupervisorState{}, fmt.Errorf("supervisor of fleet %s: %w", fleetName, err)
	}
	if info.Config.Labels[labelRole] != roleSupervisor {
		return SupervisorState{}, fmt.Errorf("supervisor of fleet %s: %w", fleetName, &foreignError{name})
	}
	if err := checkSchema("container "+name, info.Config.Labels); err != nil {
		return SupervisorState{}, err
	}
	state := SupervisorState{
		ContainerID: info.ID, Foreground: info.HostConfig.AutoRemove, Running: info.State.Running || info.State.Restarting,
		Image: info.Config.Image, Command: info.Config.Entrypoint[1:], ExitCode: info.State.ExitCode, Restarts: info.RestartCount,
	}
	if started := moment(info.State.StartedAt); started != nil {
		state.Started = *started
	}
	return state, nil
}

// StartSupervisor starts a supervisor in the background. credential is one document, for the
// supervisor alone. A supervisor that already runs with the same image and command is notified to
// read its desired state and credential again; any other one is replaced, while the runners
// go on. The desired state must be saved before. A supervisor in the foreground is refused.
func (e *Engine) StartSupervisor(ctx context.Context, options SupervisorOptions, credential secret.Text) error {
	return e.withProgramImage(ctx, options.Program, options.Roots, func(reference string) error {
		return e.startSupervisor(ctx, options, reference, credential)
	})
}

func (e *Engine) startSupervisor(ctx context.Context, options SupervisorOptions, reference string, credential secret.Text) error {
	name := supervisorName(options.Fleet)
	if err := e.ensureVolume(ctx, options.Fleet, stateVolume(options.Fleet), roleState); err != nil {
		return err
	}
	if err := e.ensureVolume(ctx, options.Fleet, credentialVolume(options.Fleet), roleCredential); err != nil {
		return err
	}
	running, err := e.Supervisor(ctx, options.Fleet)
	if err != nil {
		return err
	}
	if running.Foreground {
		return &SupervisedError{Fleet: options.Fleet, Foreground: true}
	}
	if err := e.saveCredential(ctx, options.Fleet, reference, credential); err != nil {
		return err
	}
	if running.Running && running.Image == reference && slices.Equal(running.Command, options.Command) {
		return e.Reload(ctx, options.Fleet)
	}
	if running.ContainerID != "" {
		if err := e.stopSupervisor(ctx, options.Fleet, running); err != nil {
			return err
		}
	}
	config, host := supervisorConfig(options, reference)
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
	defer cancel()
	made, err := e.api.ContainerCreate(whole, config, host, nil, nil, name)
	if err != nil {
		return fmt.Errorf("supervisor of fleet %s: create container: %w", options.Fleet, err)
	}
	if err := e.api.ContainerStart(whole, made.ID, container.StartOptions{}); err != nil {
		left := e.api.ContainerRemove(whole, made.ID, container.RemoveOptions{Force: true})
		return errors.Join(fmt.Errorf("supervisor of fleet %s: start container: %w", options.Fleet, err), left)
	}
	return nil
}

// SupervisedError means that a fleet already has a supervisor.
type SupervisedError struct {
	Fleet      string
	Foreground bool
}

func (e *SupervisedError) Error() string {
	if e.Foreground {
		return "fleet " + e.Fleet + " has a supervisor in the foreground"
	}
	return "fleet " + e.Fleet + " has a supervisor: the container " + supervisorName(e.Fleet)
}

// Reload notifies a fleet's supervisor, in either form, that its desired state has changed
// (Reloads). A supervisor that has just ended reads it at its next start. Reload sends no
// signal: the engine would treat that as a stop, and never start the container again.
func (e *Engine) Reload(ctx context.Context, fleetName string) error {
	attached, err := e.api.ContainerAttach(ctx, supervisorName(fleetName), container.AttachOptions{})
	if err == nil {
		attached.Close()
	} else if !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
		return fmt.Errorf("supervisor of fleet %s: %w", fleetName, err)
	}
	return nil
}

// StopSupervisor ends a fleet's supervisor, in either form, and removes its container and its
// credential. The runners stay, and so do desired state, records and events. It is not an error
// if there is no supervisor.
func (e *Engine) StopSupervisor(ctx context.Context, fleetName string) error {
	found, err := e.Supervisor(ctx, fleetName)
	if err != nil {
		return err
	}
	if found.ContainerID != "" {
		if err := e.stopSupervisor(ctx, fleetName, found); err != nil {
			return err
		}
	}
	return e.removeOwnVolume(ctx, credentialVolume(fleetName), roleCredential)
}

func (e *Engine) stopSupervisor(ctx context.Context, fleetName string, found SupervisorState) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	if !found.Foreground { // a hold has nothing to do before its end
		if err := e.api.ContainerStop(whole, found.ContainerID, container.StopOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("supervisor of fleet %s: stop: %w", fleetName, err)
		}
	}
	for {
		err := e.api.ContainerRemove(whole, found.ContainerID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil, cerrdefs.IsNotFound(err):
			return nil
		case !cerrdefs.IsConflict(err): // else the engine removes it: a hold removes itself
			return fmt.Errorf("supervisor of fleet %s: remove container: %w", fleetName, err)
		}
		select {
		case <-whole.Done():
			return fmt.Errorf("supervisor of fleet %s: remove container: %w", fleetName, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// RemoveState removes a fleet's desired state, records and events. Its supervisor must be
// stopped before.
func (e *Engine) RemoveState(ctx context.Context, fleetName string) error {
	return e.removeOwnVolume(ctx, stateVolume(fleetName), roleState)
}

// SupervisorParts names the parts of a fleet's supervisor that exist: its container, and the
// volumes of its credential and its state, in the order in which they can be removed.
func (e *Engine) SupervisorParts(ctx context.Context, fleetName string) (names []string, err error) {
	found, err := e.Supervisor(ctx, fleetName)
	if err != nil {
		return nil, err
	}
	if found.ContainerID != "" {
		names = append(names, supervisorName(fleetName))
	}
	for _, one := range []struct{ name, role string }{{credentialVolume(fleetName), roleCredential}, {stateVolume(fleetName), roleState}} {
		exists, err := e.ownsVolume(ctx, one.name, one.role)
		if err != nil {
			return nil, err
		}
		if exists {
			names = append(names, one.name)
		}
	}
	return names, nil
}

// ownsVolume reports whether a volume of runnerctl's exists in that role.
func (e *Engine) ownsVolume(ctx context.Context, name, role string) (bool, error) {
	volume, err := e.api.VolumeInspect(ctx, name)
	if err != nil && !cerrdefs.IsNotFound(err) {
		return false, fmt.Errorf("volume %s: %w", name, err)
	}
	return err == nil && volume.Labels[labelRole] == role, nil
}

// SupervisorAway reports why a fleet's supervisor does not run; "" if it runs, or if the
// fleet should have none.
func (e *Engine) SupervisorAway(ctx context.Context, fleetName string) (string, error) {
	found, err := e.Supervisor(ctx, fleetName)
	switch {
	case err != nil || found.Running && found.ExitCode == 0:
		return "", err
	case found.Running:
		return fmt.Sprintf("it ended with exit code %d and was restarted %d times", found.ExitCode, found.Restarts), nil
	case found.ContainerID != "":
		return fmt.Sprintf("it is stopped, exit code %d", found.ExitCode), nil
	}
	left, err := e.api.VolumeInspect(ctx, credentialVolume(fleetName))
	switch {
	case cerrdefs.IsNotFound(err) || err == nil && left.Labels[labelRole] != roleCredential:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("volume %s: %w", credentialVolume(fleetName), err)
	}
	return "its container is gone", nil
}

// HoldSupervisor takes the lock of a supervisor in the foreground: a container that has the
// state and ends with this process. It fails while there is another supervisor. lost is
// closed when another process, like down, has removed the container. image is any runner
// image.
func (e *Engine) HoldSupervisor(ctx context.Context, fleetName, image string) (lost <-chan struct{}, release func(), err error) {
	if err := e.ensureVolume(ctx, fleetName, stateVolume(fleetName), roleState); err != nil {
		return nil, nil, err
	}
	found, err := e.Supervisor(ctx, fleetName)
	if err != nil {
		return nil, nil, err
	}
	if found.Running {
		return nil, nil, &SupervisedError{Fleet: fleetName, Foreground: found.Foreground}
	}
	if found.ContainerID != "" && !found.Foreground { // stopped by hand
		return nil, nil, &SupervisedError{Fleet: fleetName}
	}
	state := mount.Mount{Type: mount.TypeVolume, Source: stateVolume(fleetName), Target: stateFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}
	bounded, cancel := context.WithTimeout(ctx, 2*unstartedLimit)
	defer cancel()
	held, err := e.hold(bounded, hold{name: supervisorName(fleetName), labels: ownLabels(fleetName, roleSupervisor), image: image, mounts: []mount.Mount{state}}, func() {})
	if err != nil {
		return nil, nil, fmt.Errorf("supervisor of fleet %s: %w", fleetName, err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended, failed := e.api.ContainerWait(life, held.id, container.WaitConditionNotRunning)
		select {
		case <-ended:
		case <-failed: //nolint:errcheck // it is gone already, or the engine is, and it with that
		}
	}()
	return gone, func() { end(); held.release() }, nil
}

// SupervisorLog copies a supervisor's log until its end; with Follow, until the container or
// ctx ends. A supervisor in the foreground has no log here.
func (e *Engine) SupervisorLog(ctx context.Context, fleetName string, options LogOptions, out io.Writer) error {
	stream, err := e.api.ContainerLogs(ctx, supervisorName(fleetName), options.wanted())
	if cerrdefs.IsNotFound(err) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("supervisor of fleet %s: log: %w", fleetName, err)
	}
	defer stream.Close()
	if _, err := stdcopy.StdCopy(out, out, stream); err != nil && ctx.Err() == nil {
		return fmt.Errorf("supervisor of fleet %s: log: %w", fleetName, err)
	}
	return nil
}

// ensureVolume creates one of runnerctl's volumes unless it exists.
func (e *Engine) ensureVolume(ctx context.Context, fleetName, name, role string) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
	defer cancel()
	made, err := e.api.VolumeCreate(whole, volume.CreateOptions{Name: name, Labels: ownLabels(fleetName, role)})
	if err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	if made.Labels[labelRole] != role {
		return fmt.Errorf("volume %s: it is not runnerctl's", name)
	}
	return checkSchema("volume "+name, made.Labels)
}

func (e *Engine) removeOwnVolume(ctx context.Context, name, role string) error {
	found, err := e.api.VolumeInspect(ctx, name)
	if cerrdefs.IsNotFound(err) || err == nil && found.Labels[labelRole] != role {
		return nil
	}
	if err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	err = e.api.VolumeRemove(ctx, name, false)
	if cerrdefs.IsConflict(err) {
		if err := e.removeAsides(ctx, name); err != nil {
			return err
		}
		err = e.api.VolumeRemove(ctx, name, false)
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	return nil
}

// removeAsides removes the temporary containers through which killed processes reached a
// volume. A process that is just reading finds nothing then, as if the volume were gone. No
// other probe has a volume.
func (e *Engine) removeAsides(ctx context.Context, volume string) error {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("volume", volume), filters.Arg("label", labelRole+"="+string(fleet.Probe)))})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, one := range list {
		if err := e.api.ContainerRemove(ctx, one.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			return fmt.Errorf("container %s: %w", one.ID, err)
		}
	}
	return nil
}

// supervisorImages lists the supervisors' images that were imported here and have no tag that
// a user gave.
func (e *Engine) supervisorImages(ctx context.Context) ([]image.Summary, error) {
	images, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelRole+"="+roleSupervisor))})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return slices.DeleteFunc(images, func(one image.Summary) bool { return !isOwn(one, supervisorTag) }), nil
}

// isOwn reports whether an image was imported here. An image that a user committed from a
// container of it has its labels too, but no name that runnerctl gave.
func isOwn(one image.Summary, tag string) bool {
	return checkSchema("", one.Labels) == nil && len(one.RepoTags) > 0 &&
		!slices.ContainsFunc(one.RepoTags, func(name string) bool { return !strings.HasPrefix(name, tag) })
}
