package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ChristopherHX/github-act-runner/protocol"
	"github.com/ChristopherHX/github-act-runner/runnerconfiguration"
	"github.com/ChristopherHX/github-act-runner/runnerconfiguration/compat"
)

var settingsFiles = []string{".runner", ".credentials", ".credentials_rsaparams", ".runner_migrated", ".credentials_migrated"}

// settingsFolder is a root folder with these files.
type settingsFolder string

func (f settingsFolder) Read(name string, into any) error {
	content, err := os.ReadFile(filepath.Join(string(f), name+"_migrated")) // preferred (Runner.Common/ConfigurationStore.cs:270-310)
	if errors.Is(err, fs.ErrNotExist) {
		content, err = os.ReadFile(filepath.Join(string(f), name))
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (f settingsFolder) Write(name string, content any) error {
	encoded, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(string(f), name), encoded, 0o600)
}

// load reads the settings that a JIT configuration or configure has written.
func (f settingsFolder) load() (*runnerconfiguration.RunnerInstance, error) {
	instance, err := compat.ToRunnerInstance(f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("Not configured. Run config.(sh/cmd) to configure the runner.") //nolint:staticcheck // GitHub's words
	}
	if err != nil {
		return nil, err
	}
	properties := instance.Agent.Properties
	for _, name := range []string{"UseV2Flow", "RequireFipsCryptography"} { // LookupBool does not know the type of these
		if value, set := properties[name].Value.(compat.DotnetBoolean); set {
			properties[name] = protocol.PropertyValue{Type: "System.Boolean", Value: bool(value)}
		}
	}
	if v2, _ := properties.LookupBool("UseV2Flow"); !v2 {
		return nil, errors.New(".runner: UseV2Flow is not set; the older protocol is not spoken here")
	}
	instance.PKey.Precompute()
	if err := instance.PKey.Validate(); err != nil {
		return nil, fmt.Errorf(".credentials_rsaparams: %w", err)
	}
	instance.Agent.Version = version
	return instance, nil
}

// clear removes these files, as the runner does when its registration is gone. Links that
// another user has made stay intact if their folder is not ours.
func (f settingsFolder) clear() {
	for _, name := range settingsFiles {
		_ = os.Remove(filepath.Join(string(f), name)) // nothing depends on success
	}
}
