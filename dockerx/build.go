package dockerx

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"
	controlapi "github.com/moby/buildkit/api/services/control"
	bkclient "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"google.golang.org/protobuf/proto"
)

// Context is a build context: slash-separated path → content. All files are sent as
// executable, except the Dockerfile and the settings among the rootfs's files (image/rootfs).
type Context map[string][]byte

// Paths returns the sorted paths, so that hashes and archives are the same every time.
func (c Context) Paths() []string {
	var paths []string
	for path := range c {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	return paths
}

// Mode returns the mode of a file in the context.
func (c Context) Mode(path string) fs.FileMode {
	settings := strings.HasPrefix(path, "image/rootfs/") && !bytes.HasPrefix(c[path], []byte("#!"))
	if path == "Dockerfile" || settings {
		return 0o644
	}
	return 0o755
}

// pack writes the context as a tar, followed by the large files, by their path in the
// context.
func (c Context) pack(out io.Writer, large map[string]string) error {
	w := tar.NewWriter(out)
	for _, path := range c.Paths() {
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: int64(c.Mode(path)), Size: int64(len(c[path]))}); err != nil {
			return err
		}
		if _, err := w.Write(c[path]); err != nil {
			return err
		}
	}
	for path, source := range large {
		if err := packFile(w, path, source); err != nil {
			return err
		}
	}
	return w.Close()
}

func packFile(w *tar.Writer, path, source string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}

// ImageID returns the id of a reference; "" if the engine has no such image.
func (e *Engine) ImageID(ctx context.Context, reference string) (string, error) {
	info, err := e.api.ImageInspect(ctx, reference)
	if cerrdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("image %s: %w", reference, err)
	}
	return info.ID, nil
}

// imagesWith lists the images with a label, the newest first.
func (e *Engine) imagesWith(ctx context.Context, label string) ([]image.Summary, error) {
	list, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", label))})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	slices.SortStableFunc(list, func(a, b image.Summary) int { return cmp.Compare(b.Created, a.Created) })
	return list, nil
}

// AnyImage returns the id of any image that runnerctl built; "" if the engine has none.
func (e *Engine) AnyImage(ctx context.Context) (string, error) {
	list, err := e.imagesWith(ctx, LabelImage)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].ID, nil
}

// AgentVersion returns the version of the agent in the newest runner image that has one, or
// its archive's hash; "" if no image has an agent.
func (e *Engine) AgentVersion(ctx context.Context) (string, error) {
	list, err := e.imagesWith(ctx, LabelAgent)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].Labels[LabelAgent], nil
}

// FleetImage returns the tag and labels of the newest image of a fleet's runners; without runners,
// of the newest runner image; "" if there is no image. An image without a tag is named by its id.
func (e *Engine) FleetImage(ctx context.Context, name string) (tag string, labels map[string]string, err error) {
	list, err := e.imagesWith(ctx, LabelImage)
	if err != nil || len(list) == 0 {
		return "", nil, err
	}
	runners, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: members(name)})
	if err != nil {
		return "", nil, fmt.Errorf("list runners: %w", err)
	}
	found := usedImage(list, runners)
	if tag = found.ID; len(found.RepoTags) > 0 {
		tag = found.RepoTags[0]
	}
	return tag, found.Labels, nil
}

// usedImage returns the first image that a runner uses, or the first if none is used.
func usedImage(images []image.Summary, runners []container.Summary) image.Summary {
	used := slices.IndexFunc(images, func(one image.Summary) bool {
		return slices.ContainsFunc(runners, func(runner container.Summary) bool { return runner.ImageID == one.ID })
	})
	return images[max(used, 0)]
}

// Pull fetches an image from its registry.
func (e *Engine) Pull(ctx context.Context, reference string, progress io.Writer) error {
	stream, err := e.api.ImagePull(ctx, reference, image.PullOptions{})
	if err != nil {
		return fmt.Errorf("pull %s: %w", reference, err)
	}
	defer stream.Close()
	// Failures arrive inside the stream.
	if err := jsonmessage.DisplayJSONMessagesStream(stream, progress, 0, false, nil); err != nil {
		return fmt.Errorf("pull %s: %w", reference, err)
	}
	return nil
}

// BuildOptions controls one image build.
type BuildOptions struct {
	Tag      string
	NoCache  bool
	Large    map[string]string // further files: path in the context → local path
	Progress string            // auto, tty, plain or quiet
	Out      io.Writer         // for the progress; a terminal for tty
}

// Build sends the context to the engine's BuildKit and shows its progress.
func (e *Engine) Build(ctx context.Context, files Context, options BuildOptions) error {
	body, packed := io.Pipe()
	defer func() { _ = body.Close() }()
	go func() { packed.CloseWithError(files.pack(packed, options.Large)) }()
	response, err := e.api.ImageBuild(ctx, body, build.ImageBuildOptions{
		Version: build.BuilderBuildKit, Tags: []string{options.Tag}, NoCache: options.NoCache, Dockerfile: "Dockerfile", Remove: true,
	})
	if err != nil {
		return fmt.Errorf("image %s: build: %w", options.Tag, err)
	}
	defer response.Body.Close()

	out := options.Out
	if options.Progress == "quiet" {
		out = io.Discard
	}
	display, err := progressui.NewDisplay(out, progressui.DisplayMode(options.Progress))
	if err != nil {
		return fmt.Errorf("image %s: progress: %w", options.Tag, err)
	}
	statuses := make(chan *bkclient.SolveStatus)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = display.UpdateFrom(context.WithoutCancel(ctx), statuses) // the stream holds the outcome
	}()
	log := buildLog{}
	err = readBuild(response.Body, func(status *bkclient.SolveStatus) {
		log.add(status)
		statuses <- status
	})
	close(statuses)
	<-shown
	var failure *jsonmessage.JSONError
	if errors.As(err, &failure) {
		failed := log.failed(failure.Message)
		return &BuildError{Object: "image " + options.Tag, Problem: stepProblem(failed.name, failure.Message), Lines: failed.output.lines()}
	}
	if err != nil {
		return fmt.Errorf("image %s: build: %w", options.Tag, err)
	}
	return nil
}

// readBuild decodes the engine's stream: BuildKit's progress is an aux message,
// a failure is an error message within the stream.
func readBuild(stream io.Reader, observe func(*bkclient.SolveStatus)) error {
	decoder := json.NewDecoder(stream)
	for {
		var message jsonmessage.JSONMessage
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if message.Error != nil {
			return message.Error
		}
		if message.ID != "moby.buildkit.trace" || message.Aux == nil {
			continue
		}
		var encoded []byte
		if err := json.Unmarshal(*message.Aux, &encoded); err != nil {
			return fmt.Errorf("progress message: %w", err)
		}
		var status controlapi.StatusResponse
		if err := proto.Unmarshal(encoded, &status); err != nil {
			return fmt.Errorf("progress message: %w", err)
		}
		observe(bkclient.NewSolveStatus(&status))
	}
}

// suites maps an image's reference to the suite that mmdebstrap can build it from.
var suites = map[string]string{
	"debian:trixie-slim": "trixie", "debian:sid-slim": "sid",
	"ubuntu:24.04": "noble", "ubuntu:22.04": "jammy",
}

// ubuntuKeyring comes with Ubuntu, and on Debian with the package ubuntu-archive-keyring.
const ubuntuKeyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"

// Bootstrappable reports whether this machine can build a base from packages.
func Bootstrappable(reference string) bool {
	_, err := exec.LookPath("mmdebstrap")
	return suites[reference] != "" && err == nil
}

// Bootstrap builds a base image from the distribution's own packages and imports it under the
// reference. It serves machines that can't reach a registry.
func (e *Engine) Bootstrap(ctx context.Context, reference string, progress io.Writer) error {
	suite := suites[reference]
	if suite == "" {
		return fmt.Errorf("base %s can't be bootstrapped: only debian:trixie-slim, debian:sid-slim, ubuntu:24.04 and ubuntu:22.04 can", reference)
	}
	if strings.HasPrefix(reference, "ubuntu:") {
		if _, err := os.Stat(ubuntuKeyring); err != nil {
			return fmt.Errorf("base %s can't be bootstrapped: Ubuntu's archive keys are missing (%s, of the package ubuntu-archive-keyring)", reference, ubuntuKeyring)
		}
	}
	dir, err := os.MkdirTemp("", "runnerctl-base-")
	if err != nil {
		return fmt.Errorf("base %s: %w", reference, err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "base.tar")
	args := []string{"--variant=minbase", "--include=ca-certificates"}
	if strings.HasPrefix(reference, "ubuntu:") {
		args = append(args, "--components=main,universe") // docker.io is in universe
	}
	command := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, path)...)
	var output tail
	both := io.MultiWriter(progress, &output) // one writer for both: exec writes from one goroutine
	command.Stdout, command.Stderr = both, both
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &BuildError{
			Object: "base " + reference, Problem: "mmdebstrap: " + err.Error(), Lines: output.lines(),
			Advice: "check with apt-get update that this machine reaches the distribution's packages and that they are current",
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("base %s: %w", reference, err)
	}
	defer file.Close()
	stream, err := e.api.ImageImport(ctx, image.ImportSource{Source: file, SourceName: "-"}, reference, image.ImportOptions{Message: "made by mmdebstrap from " + suite})
	if err != nil {
		return fmt.Errorf("base %s: import: %w", reference, err)
	}
	defer stream.Close()
	if err := jsonmessage.DisplayJSONMessagesStream(stream, io.Discard, 0, false, nil); err != nil {
		return fmt.Errorf("base %s: import: %w", reference, err)
	}
	return nil
}
