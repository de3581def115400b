package dockerx

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/prune"
)

// ProbeOptions selects the things that a probe container looks at.
type ProbeOptions struct {
	Fleet   string   // its fleet; the container's name begins with runnerctl-probe
	Images  []string // tried first, in order; any image with a shell works
	Files   []string // patterns below the root of the engine's machine; none: no look at its files
	Connect []string // HOST:PORT or HOST:PORT/SECONDS (limit): does something listen there? Or Resolvers
	Outside bool     // on the machine's own network, not on the containers' bridge
	// Program is the file of a static program for the engine's machine, used if no image
	// works; "" for none. Called with "__probe", it prints the same as probeScript.
	Program string
}

// Resolvers in ProbeOptions.Connect queries each DNS server of the container's resolv.conf.
const Resolvers = "resolvers"

// Probed holds the results of a probe container.
type Probed struct {
	Files     fs.FS           // the machine's files that exist
	Mounts    string          // the container's own mountinfo
	Limits    string          // the container's own /proc/self/limits
	Connected map[string]bool // by address
	Servers   []string        // DNS servers, in their order; only with Resolvers
	Answers   map[string]bool // which of them answered
	Free      int64           // bytes, in the engine's storage of containers
	Inodes    int64           // free there
	AllInodes int64           // 0 if they are created as needed
}

// NoImageError means that the engine has no image that a probe can run in.
type NoImageError struct {
	Err error // why the last image that was tried is unsuited; nil if there was none
}

func (e *NoImageError) Error() string {
	if e.Err != nil {
		return "the engine has no image with a shell for the probe yet (runnerctl build creates one): " + e.Err.Error()
	}
	return "the engine has no image for the probe yet (runnerctl build creates one)"
}

// Unwrap returns why an image is unsuited.
func (e *NoImageError) Unwrap() error { return e.Err }

// Passing reports that a build solves the problem.
func (*NoImageError) Passing() bool { return true }

// probeScript needs a POSIX shell, stat, base64 and timeout, as Debian, Ubuntu and busybox
// have them, and bash, a runner's own program or nc for connections. $1 is the number of addresses among the other arguments; the rest are patterns.
// It first prints the modes of all files, then their contents, each in base64 up to an empty
// line, and "end" at last.
const probeScript = `
machine=/usr/lib/runnerctl/machine
listens() { # HOST PORT SECONDS
	if command -v bash >/dev/null; then timeout "$3" bash -c 'exec 3<>"/dev/tcp/$1/$2"' sh "$1" "$2" 2>/dev/null
	elif [ -x "$machine" ]; then "$machine" listens "$1" "$2" "$3"
	else timeout "$(($3 + 1))" nc -w "$3" "$1" "$2" </dev/null >/dev/null 2>&1; fi
}
# A question for the servers of DNS's root; any answer will do.
question='\022\064\001\000\000\001\000\000\000\000\000\000\000\000\002\000\001'
answers() { # SERVER; prints 2 if it answers
	if command -v bash >/dev/null; then
		timeout 2 bash -c 'exec 3<>"/dev/udp/$1/53" && printf "$2" >&3 && head -c 2 <&3' sh "$1" "$question" 2>/dev/null | wc -c
	elif [ -x "$machine" ]; then "$machine" resolver "$1" && echo 2
	else printf "$question" | timeout 3 nc -u -w 2 "$1" 53 2>/dev/null | head -c 2 | wc -c; fi
}
resolvers() {
	while read -r word server rest; do
		[ "$word" = nameserver ] || continue
		echo "server $server"
		if [ "$(answers "$server" | tr -d ' ')" = 2 ]; then echo "answers $server"; fi &
	done </etc/resolv.conf
	wait
}
connect() {
	for address; do
		if [ "$address" = resolvers ]; then resolvers & continue; fi
		limit=${address##*/} place=${address%/*}
		[ "$limit" != "$address" ] || limit=1
		if listens "${place%:*}" "${place##*:}" "$limit"; then echo "connected $address"; fi &
	done
	wait
}
content() {
	echo "content $1"
	base64 <"$2"
	echo
}
report() {
	stat -f -c 'space %a %S %d %c' /
	content mounts /proc/self/mountinfo
	content limits /proc/self/limits
	cd /machine 2>/dev/null || return 0
	for file; do [ -e "$file" ] && set -- "$@" "$file"; shift; done
	[ $# -eq 0 ] || stat -L -c 'mode %a %n' "$@"
	for file; do
		if [ -f "$file" ] && [ -r "$file" ]; then content "$file" "$file"; fi
	done
}
count=$1 addresses=''
shift
while [ "$count" -gt 0 ]; do
	addresses="$addresses $1" count=$((count - 1))
	shift
done
cd /machine 2>/dev/null
connect $addresses | { report $*; cat; }
echo end
`

// Limits for an engine that hangs. A remote one may first have to receive this program, over
// a slow link.
const (
	probeLimit     = 20 * time.Second
	probeLimitAway = 100 * time.Second
	probeAttempts  = 3
)

func (e *Engine) probeLimit() time.Duration {
	if e.away {
		return probeLimitAway
	}
	return probeLimit
}

func randomName() string {
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	return hex.EncodeToString(random)
}

// machineFolders are the folders of the engine's machine that a probe sees, read-only.
var machineFolders = []string{"/boot", "/dev", "/proc", "/sys"}

// Probe runs an unprivileged container that inspects the engine's machine and the view
// from a container, and then removes it. Its user is nobody, in root's group: the kernel shows
// that group which AppArmor profiles are loaded.
func (e *Engine) Probe(ctx context.Context, options ProbeOptions) (Probed, error) {
	bounded, cancel := context.WithTimeout(ctx, e.probeLimit())
	defer cancel()
	probed, err := e.probeAny(bounded, options)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("probe container: no output within %s", e.probeLimit())
	}
	return probed, err
}

func (e *Engine) probeAny(ctx context.Context, options ProbeOptions) (Probed, error) {
	images, err := e.api.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return Probed{}, fmt.Errorf("list images: %w", err)
	}
	candidates := slices.Clone(options.Images)
	for _, one := range images {
		if !isProbe(one) {
			candidates = append(candidates, one.ID)
		}
	}
	if err := e.removeStaleProbes(ctx, images); err != nil {
		return Probed{}, err
	}
	none := &NoImageError{}
	for _, candidate := range candidates[:min(len(candidates), 6)] {
		probed, err := e.probe(ctx, candidate, []string{"/bin/sh", "-c", probeScript, "probe"}, options)
		switch {
		case err == nil:
			return probed, nil
		case ctx.Err() != nil:
			return Probed{}, err
		case unsuited(err):
			none.Err = err
		case !cerrdefs.IsNotFound(err): // else the image does not exist
			return Probed{}, err
		}
	}
	if options.Program != "" {
		return e.probeByProgram(ctx, options)
	}
	return Probed{}, none
}

var (
	errOutput = errors.New("not the output of a probe")
	errCut    = errors.New("the engine lost the end of the output")
)

// unsuited reports whether the image caused a failure, not the engine: it has no shell, is of
// another architecture, or lacks the script's programs.
func unsuited(err error) bool {
	text := err.Error()
	// The engine wraps the runtime's message.
	noShell := strings.Contains(text, `"/bin/sh"`) && strings.Contains(text, "no such file")
	return errors.Is(err, errOutput) || noShell || strings.Contains(text, "exec format error")
}

// removeStaleProbes removes the probes that a killed doctor left behind.
func (e *Engine) removeStaleProbes(ctx context.Context, images []image.Summary) error {
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelRole+"="+string(fleet.Probe)))})
	if err != nil {
		return fmt.Errorf("list probe containers: %w", err)
	}
	images = slices.DeleteFunc(slices.Clone(images), func(one image.Summary) bool { return !isProbe(one) })
	if len(containers)+len(images) == 0 {
		return nil
	}
	now, err := e.now(ctx)
	if err != nil {
		return err
	}
	stale := func(made int64) bool { return now.Sub(time.Unix(made, 0)) > prune.ProbeGrace }
	var failures []error
	for _, one := range containers {
		if stale(one.Created) && strings.HasPrefix(one.Names[0], "/"+probeName) && checkSchema("", one.Labels) == nil {
			err := e.api.ContainerRemove(ctx, one.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
			if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) { // else another doctor removes it
				failures = append(failures, fmt.Errorf("stale probe %s: %w", one.Names[0], err))
			}
		}
	}
	for _, one := range images {
		if stale(one.Created) {
			if _, err := e.api.ImageRemove(ctx, one.ID, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil && !cerrdefs.IsNotFound(err) {
				failures = append(failures, fmt.Errorf("stale probe image %s: %w", one.ID, err))
			}
		}
	}
	return errors.Join(failures...)
}

// removeIdleProbes removes the fleet's probes that do not run: their creator was killed
// before it started them. Others remove themselves.
func (e *Engine) removeIdleProbes(ctx context.Context, fleetName string) error {
	args := filters.NewArgs(filters.Arg("label", labelRole+"="+string(fleet.Probe)), filters.Arg("label", labelFleet+"="+fleetName), filters.Arg("status", "created"))
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		return fmt.Errorf("list probe containers: %w", err)
	}
	var failures []error
	for _, one := range containers {
		if err := e.api.ContainerRemove(ctx, one.ID, container.RemoveOptions{RemoveVolumes: true}); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			failures = append(failures, fmt.Errorf("probe %s: %w", one.Names[0], err))
		}
	}
	return errors.Join(failures...)
}

// Prefixes of the names of probe containers, and of their images' tags.
const (
	probeName = "runnerctl-probe-"
	probeTag  = "runnerctl/probe:"
)

func isProbe(one image.Summary) bool {
	return one.Labels[labelRole] == string(fleet.Probe) && isOwn(one, probeTag)
}

// probeByProgram runs a probe in a temporary image that holds only the program.
func (e *Engine) probeByProgram(ctx context.Context, options ProbeOptions) (_ Probed, err error) {
	content, err := os.ReadFile(options.Program)
	if err != nil {
		return Probed{}, fmt.Errorf("probe: %w", err)
	}
	var body bytes.Buffer
	packed := gzip.NewWriter(&body) // halves the transfer to a remote engine
	out := tar.NewWriter(packed)
	_ = out.WriteHeader(&tar.Header{Name: "probe", Mode: 0o755, Size: int64(len(content))}) // none of these fails on a buffer
	_, _ = out.Write(content)
	_ = out.Close()
	_ = packed.Close()
	reference := probeTag + randomName()
	whole := context.WithoutCancel(ctx)
	defer func() {
		bounded, cancel := context.WithTimeout(whole, e.probeLimit())
		defer cancel()
		if _, left := e.api.ImageRemove(bounded, reference, image.RemoveOptions{Force: true, PruneChildren: true}); left != nil && !cerrdefs.IsNotFound(left) {
			err = errors.Join(err, fmt.Errorf("remove image %s: %w", reference, left))
		}
	}()
	if err := e.importImage(ctx, &body, reference, string(fleet.Probe)); err != nil {
		return Probed{}, fmt.Errorf("probe: %w", err)
	}
	return e.probe(ctx, reference, []string{"/probe", "__probe"}, options)
}

// probe runs a probe. A busy engine can lose the end of a container's output: then it runs again.
func (e *Engine) probe(ctx context.Context, image string, command []string, options ProbeOptions) (probed Probed, err error) {
	for range probeAttempts {
		if probed, err = e.probeOnce(ctx, image, command, options); !errors.Is(err, errCut) {
			break
		}
	}
	return probed, err
}

func (e *Engine) probeOnce(ctx context.Context, image string, command []string, options ProbeOptions) (_ Probed, err error) {
	config := &container.Config{
		Image: image, User: "65534:0", Labels: ownLabels(options.Fleet, string(fleet.Probe)), Volumes: map[string]struct{}{},
		Entrypoint: slices.Concat(command, []string{strconv.Itoa(len(options.Connect))}, options.Connect, options.Files), Cmd: []string{},
		AttachStdout: true, AttachStderr: true, NetworkDisabled: len(options.Connect) == 0,
	}
	pids := int64(64)
	host := &container.HostConfig{
		AutoRemove:  true, // its creator may be killed
		NetworkMode: "bridge", ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		LogConfig: container.LogConfig{Type: "none"}, Resources: container.Resources{Memory: 128 << 20, PidsLimit: &pids},
		Tmpfs: map[string]string{dataRoot: "size=4k"}, // else a runner image's VOLUME would create an anonymous volume
	}
	switch {
	case len(options.Connect) == 0:
		host.NetworkMode = "none"
	case options.Outside:
		host.NetworkMode = "host"
	}
	if len(options.Files) > 0 {
		for _, folder := range machineFolders {
			host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: folder, Target: "/machine" + folder, ReadOnly: true, BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}})
		}
	}
	name := probeName + randomName()
	whole := context.WithoutCancel(ctx)
	response, err := e.createProbe(whole, config, host, name)
	// A machine that keeps its kernel in another place has no /boot.
	if err != nil && len(host.Mounts) > 0 && strings.Contains(err.Error(), "/boot") {
		host.Mounts = host.Mounts[1:]
		response, err = e.createProbe(whole, config, host, name)
	}
	if err != nil {
		return Probed{}, fmt.Errorf("probe container: %w", err)
	}
	defer func() {
		if left := e.removeProbe(whole, response.ID, name); left != nil {
			err = errors.Join(err, left)
		}
	}()
	attached, err := e.api.ContainerAttach(ctx, response.ID, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return Probed{}, fmt.Errorf("probe container: %w", err)
	}
	defer attached.Close()
	if err := e.api.ContainerStart(ctx, response.ID, container.StartOptions{}); err != nil {
		return Probed{}, fmt.Errorf("probe container: %w", err)
	}
	output, complaints := &Head{Limit: 8 << 20}, &Head{Limit: 1 << 10}
	copied := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(output, complaints, attached.Reader)
		copied <- err
	}()
	select {
	case <-ctx.Done():
		return Probed{}, fmt.Errorf("probe container: %w", ctx.Err())
	case err := <-copied:
		if err != nil {
			return Probed{}, fmt.Errorf("probe container: %w", err)
		}
	}
	probed, err := readProbe(output.String())
	if errors.Is(err, errCut) {
		return Probed{}, fmt.Errorf("probe container: %w", err)
	}
	if err != nil {
		return Probed{}, fmt.Errorf("probe container: %w: %w: %s", errOutput, err, strings.TrimSpace(complaints.String()))
	}
	return probed, nil
}

// createProbe goes on even if its caller has gone; otherwise the id of the container to
// remove would be unknown. It does not wait for an engine that hangs.
func (e *Engine) createProbe(whole context.Context, config *container.Config, host *container.HostConfig, name string) (container.CreateResponse, error) {
	bounded, cancel := context.WithTimeout(whole, e.probeLimit())
	defer cancel()
	return e.api.ContainerCreate(bounded, config, host, nil, nil, name)
}

// removeProbe goes on even if its caller has gone.
func (e *Engine) removeProbe(whole context.Context, id, name string) error {
	bounded, cancel := context.WithTimeout(whole, e.probeLimit())
	defer cancel()
	// The container may be removing itself; then wait for that.
	for bounded.Err() == nil {
		err := e.api.ContainerRemove(bounded, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil, cerrdefs.IsNotFound(err):
			return nil
		case !cerrdefs.IsConflict(err):
			return fmt.Errorf("remove container %s: %w", name, err)
		}
		select {
		case <-bounded.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("remove container %s: %w", name, bounded.Err())
}

// readProbe parses the output of probeScript.
func readProbe(text string) (Probed, error) {
	if strings.HasPrefix(text, "space ") && !strings.HasSuffix(text, "\nend\n") {
		return Probed{}, errCut
	}
	files := fstest.MapFS{}
	probed := Probed{Files: files, Connected: map[string]bool{}, Answers: map[string]bool{}}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, len(text)+1) // the program prints a file as one line
	content := func() ([]byte, error) {
		var encoded strings.Builder
		for lines.Scan() && lines.Text() != "" {
			encoded.WriteString(lines.Text())
		}
		return base64.StdEncoding.DecodeString(encoded.String())
	}
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch word {
		case "end":
		case "": // busybox prints one more line after base64
		case "space":
			var blocks, size int64
			if _, err = fmt.Sscan(rest, &blocks, &size, &probed.Inodes, &probed.AllInodes); err == nil {
				probed.Free = blocks * size
			}
		case "connected":
			probed.Connected[rest] = true
		case "server":
			probed.Servers = append(probed.Servers, rest)
		case "answers":
			probed.Answers[rest] = true
		case "mode":
			mode, name, _ := strings.Cut(rest, " ")
			var bits uint64
			bits, err = strconv.ParseUint(mode, 8, 32)
			files[name] = &fstest.MapFile{Mode: fs.FileMode(bits) & fs.ModePerm}
		case "content":
			var decoded []byte
			decoded, err = content()
			switch file := files[rest]; {
			case file != nil:
				file.Data = decoded
			case rest == "mounts":
				probed.Mounts = string(decoded)
			case rest == "limits":
				probed.Limits = string(decoded)
			}
		default:
			err = errors.New("unknown keyword")
		}
		if err != nil {
			return Probed{}, fmt.Errorf("%.40q: %w", word, err)
		}
	}
	if probed.Mounts == "" {
		return Probed{}, errors.New("no output")
	}
	return probed, lines.Err()
}
