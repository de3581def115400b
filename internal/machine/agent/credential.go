//go:build linux

package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// take reads the credential, and trusts certificates that come with it.
func (a *Agent) take(ctx context.Context) (credential string, err error) {
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(a.Credential).ReadString('\n')
		if closer, ok := a.Credential.(io.Closer); ok {
			_ = closer.Close() // nobody reads it again
		}
		read <- answer{line, err}
	}()
	limit := time.After(patience)
	if a.Settings.Spare { // its credential arrives when a runner is needed, at any time
		limit = nil
		a.state.set(waiting)
		defer a.state.set(configuring)
	}
	select {
	case got := <-read:
		line := strings.TrimSpace(got.line)
		if got.err != nil && line == "" {
			return "", a.noCredential()
		}
		return a.withCertificates(line)
	case <-limit:
		return "", a.noCredential()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// noCredential explains why there is none.
func (a *Agent) noCredential() error {
	if _, err := os.Stat(a.path(deletedNote)); err == nil {
		return deleted{", and there is no credential for a new one: runnerctl up creates another runner"}
	}
	if a.Settings.Spare {
		return failed("standard input was closed before a credential came")
	}
	return failed("no credential on standard input within %d s: runnerctl up writes it when it starts the runner", patience/time.Second)
}

// withCertificates separates the certificates from the credential of a runner of runnerctl.
func (a *Agent) withCertificates(line string) (credential string, err error) {
	if a.Settings.Mode != machine.JIT && a.Settings.Mode != machine.Token {
		return line, nil
	}
	credential, certificates, found := strings.Cut(line, " ")
	if !found {
		return line, nil
	}
	return credential, a.trust(certificates)
}

// trust adds certificates to the machine's list, and to the sources of its next update.
func (a *Agent) trust(encoded string) error {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if block, _ := pem.Decode(text); err != nil || block == nil {
		return failed("the certificates on standard input are invalid")
	}
	place := a.path(user.Certificates)
	if err := errors.Join(os.MkdirAll(filepath.Dir(place), 0o755), os.WriteFile(place, text, 0o644)); err != nil {
		return err
	}
	list, err := os.OpenFile(a.path(bundle), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = list.Write(text)
	return errors.Join(err, list.Close())
}

var fileName = regexp.MustCompile(`^\.[a-z_]+$`)

// unpack writes the files that the listener would write with the configuration in its
// arguments, where every process could read it.
func (a *Agent) unpack(ctx context.Context) error {
	credential, err := a.take(ctx)
	if err != nil {
		return err
	}
	unpacked, err := jitFiles(credential)
	if err != nil {
		return err
	}
	for name, text := range unpacked {
		if err := os.WriteFile(a.path(files, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// jitFiles returns the files of a JIT configuration by name. This image disables self-updates,
// even if the configuration does not.
func jitFiles(credential string) (map[string][]byte, error) {
	invalid := failed("the credential on standard input is not a JIT configuration")
	text, err := base64.StdEncoding.DecodeString(credential)
	if err != nil {
		return nil, invalid
	}
	var encoded map[string]string
	if json.Unmarshal(text, &encoded) != nil {
		return nil, invalid
	}
	unpacked := map[string][]byte{}
	for name, content := range encoded {
		if !fileName.MatchString(name) {
			continue
		}
		if unpacked[name], err = base64.StdEncoding.DecodeString(content); err != nil {
			return nil, invalid
		}
	}
	if settings := unpacked[".runner"]; len(settings) > 0 {
		if unpacked[".runner"], err = withoutUpdates(settings); err != nil {
			return nil, failed("the agent's file .runner is not JSON")
		}
	}
	return unpacked, nil
}

func withoutUpdates(settings []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(settings, []byte("\ufeff"))))
	decoder.UseNumber() // ids are large
	var read map[string]any
	if err := decoder.Decode(&read); err != nil || read == nil {
		return nil, errors.Join(errors.New("not an object"), err)
	}
	read["DisableUpdate"] = "True"
	return json.MarshalIndent(read, "", "  ")
}
