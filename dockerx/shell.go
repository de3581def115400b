package dockerx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/cli/cli/connhelper/ssh"
)

// rootShell runs the script on its standard input as root, with the words that follow as
// arguments.
const rootShell = `if [ "$(id -u)" = 0 ]; then exec sh -s -- "$@"; else exec sudo -n sh -s -- "$@"; fi`

// RunAsRoot runs a script as root on the machine of an ssh:// endpoint, through the user's
// own ssh. The login must be root, or be allowed to use sudo without a password. The script's
// output goes to out as it arrives.
func RunAsRoot(ctx context.Context, endpoint Endpoint, script string, out io.Writer, args ...string) error {
	spec, err := ssh.ParseURL(endpoint.Host)
	if err != nil {
		return fmt.Errorf("host %s: %w", endpoint.Name, err)
	}
	command, err := spec.Command(append([]string{"-T"}, sshLimits...), append([]string{"sh", "-c", rootShell, "sh"}, args...)...)
	if err != nil {
		return fmt.Errorf("host %s: %w", endpoint.Name, err)
	}
	var errs bytes.Buffer
	run := exec.CommandContext(ctx, "ssh", command...)
	run.Stdin, run.Stdout, run.Stderr = strings.NewReader(script), out, &errs
	run.WaitDelay = 5 * time.Second
	err = run.Run()
	var ended *exec.ExitError
	switch said := strings.TrimSpace(errs.String()); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &ended) && ended.ExitCode() == 255: // ssh itself failed
		return explain(endpoint, fmt.Errorf("%w: stderr=%s", err, said))
	default:
		return &HostError{Name: endpoint.Name, Problem: "the script failed: " + err.Error(), lines: lastLines(said, 10), advice: adviceOf(said), err: err}
	}
}

func adviceOf(said string) string {
	if strings.Contains(said, "sudo:") {
		return "log in as root, or allow that user to run sudo without a password"
	}
	return ""
}

func lastLines(text string, n int) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}
