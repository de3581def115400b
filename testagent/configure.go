package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ChristopherHX/github-act-runner/protocol"
	"github.com/ChristopherHX/github-act-runner/runnerconfiguration"
	"github.com/ChristopherHX/github-act-runner/runnerconfiguration/compat"
)

// admin returns a connection to GitHub with a registration or remove token.
func admin(token string) *protocol.VssConnection {
	return &protocol.VssConnection{AuthHeader: "RemoteAuth " + token, Client: &http.Client{Timeout: time.Minute}}
}

// configure registers this runner and writes its settings.
func configure(ctx context.Context, root string, args []string) error {
	flags := flag.NewFlagSet("configure", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	unattended := flags.Bool("unattended", false, "")
	address := flags.String("url", "", "")
	name := flags.String("name", "", "")
	labels := flags.String("labels", "", "")
	groupName := flags.String("runnergroup", "", "")
	work := flags.String("work", "_work", "")
	ephemeral := flags.Bool("ephemeral", false, "")
	disableUpdate := flags.Bool("disableupdate", false, "")
	noDefaultLabels := flags.Bool("no-default-labels", false, "")
	replace := flags.Bool("replace", false, "")
	token := flags.String("token", os.Getenv("ACTIONS_RUNNER_INPUT_TOKEN"), "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return fmt.Errorf("configure: %w", errors.Join(err, unknown(flags)))
	}
	switch {
	case !*unattended:
		return errors.New("configure: only --unattended is known")
	case *address == "" || *token == "":
		return errors.New("configure: --url and a token (ACTIONS_RUNNER_INPUT_TOKEN) are needed")
	}
	for _, name := range []string{".runner", ".runner_migrated"} { // Runner.Common/ConfigurationStore.cs:239
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			continue
		}
		return errors.New("Cannot configure the runner because it is already configured. To reconfigure the runner, run 'config.cmd remove' or './config.sh remove' first.") //nolint:staticcheck // GitHub's words
	}
	if *name == "" {
		*name, _ = os.Hostname()
	}
	urls, err := runnerconfiguration.NewGithubApiUrlBuilder(*address)
	if err != nil {
		return fmt.Errorf("configure: --url: %w", err)
	}
	connection := admin(*token)
	var tenant protocol.GitHubAuthResult
	if err := connection.RequestWithContext2(ctx, http.MethodPost, urls.AbsoluteApiUrl("actions/runner-registration"), "",
		&protocol.RunnerAddRemove{URL: *address, RunnerEvent: "register"}, &tenant); err != nil {
		return fmt.Errorf("configure: authentication: %w", err)
	}
	group, err := findGroup(ctx, connection, urls, *groupName)
	if err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("configure: key: %w", err)
	}
	public, err := xml.Marshal(&runnerconfiguration.RSAKeyValue{
		Modulus: base64.StdEncoding.EncodeToString(key.N.Bytes()), Exponent: base64.StdEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	})
	if err != nil {
		return fmt.Errorf("configure: key: %w", err)
	}
	asked := map[string]any{
		"url": *address, "group_id": group.Id, "name": *name, "version": version, "updates_disabled": *disableUpdate, "ephemeral": *ephemeral,
		"labels": labelsOf(*labels, *noDefaultLabels), "public_key": string(public),
	}
	if old, err := findRunner(ctx, connection, urls, *name); err != nil {
		return err
	} else if old != nil {
		if !*replace {
			return fmt.Errorf("A runner exists with the same name %s.", *name) //nolint:staticcheck // GitHub's words
		}
		asked["replace"], asked["runner_id"] = true, old.Id
	}
	var made protocol.Runner
	if err := connection.RequestWithContext2(ctx, http.MethodPost, urls.AbsoluteApiUrl("actions/runners/register"), "", asked, &made); err != nil {
		return fmt.Errorf("configure: register %s: %w", *name, err)
	}
	instance := &runnerconfiguration.RunnerInstance{
		PoolID: int64(group.Id), RegistrationURL: *address, WorkFolder: *work, PKey: key, Auth: &tenant,
		Agent: &protocol.TaskAgent{
			ID: made.Id, Name: made.Name, Ephemeral: *ephemeral, DisableUpdate: *disableUpdate,
			Authorization: protocol.TaskAgentAuthorization{AuthorizationURL: made.Authorization.AuthorizationURL, ClientID: made.Authorization.ClientId},
			Properties: protocol.PropertiesCollection{
				"ServerUrlV2": {Type: "System.String", Value: made.Authorization.ServerURL}, "UseV2Flow": {Type: "System.Boolean", Value: true},
			},
		},
	}
	if err := compat.FromRunnerInstance(instance, settingsFolder(root)); err != nil {
		return fmt.Errorf("configure: settings: %w", err)
	}
	fmt.Println("√ Runner successfully added")
	return nil
}

func unknown(flags *flag.FlagSet) error {
	if flags.NArg() == 0 {
		return nil
	}
	return fmt.Errorf("unrecognized command-line input arguments: %q", flags.Args())
}

func findGroup(ctx context.Context, connection *protocol.VssConnection, urls *runnerconfiguration.GithubApiUrlBuilder, name string) (protocol.RunnerGroup, error) {
	address, err := urls.ScopedApiUrl("actions/runner-groups")
	if err != nil {
		return protocol.RunnerGroup{}, fmt.Errorf("configure: %w", err)
	}
	var list protocol.RunnerGroupList
	if err := connection.RequestWithContext2(ctx, http.MethodGet, address, "", nil, &list); err != nil {
		return protocol.RunnerGroup{}, fmt.Errorf("configure: runner groups: %w", err)
	}
	for _, group := range list.RunnerGroups {
		if name == "" && group.IsDefault || name != "" && strings.EqualFold(group.Name, name) {
			return group, nil
		}
	}
	return protocol.RunnerGroup{}, fmt.Errorf("Could not find any self-hosted runner group named %q.", name) //nolint:staticcheck // GitHub's words
}

func findRunner(ctx context.Context, connection *protocol.VssConnection, urls *runnerconfiguration.GithubApiUrlBuilder, name string) (*protocol.Runner, error) {
	address, err := urls.ScopedApiUrl("actions/runners")
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	var list protocol.ListRunnersResponse
	if err := connection.RequestWithContext2(ctx, http.MethodGet, address+"?name="+name, "", nil, &list); err != nil {
		return nil, fmt.Errorf("configure: runners: %w", err)
	}
	for i := range list.Runners {
		if list.Runners[i].Name == name {
			return &list.Runners[i], nil
		}
	}
	return nil, nil
}

func labelsOf(list string, noDefaults bool) []protocol.AgentLabel {
	var labels []protocol.AgentLabel
	if !noDefaults {
		for _, name := range []string{"self-hosted", "Linux", architecture()} {
			labels = append(labels, protocol.AgentLabel{Name: name, Type: "system"})
		}
	}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			labels = append(labels, protocol.AgentLabel{Name: name, Type: "user"})
		}
	}
	return labels
}

// remove removes the registration and deletes the settings.
func remove(ctx context.Context, root string, args []string) error {
	flags := flag.NewFlagSet("remove", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Bool("unattended", false, "")
	local := flags.Bool("local", false, "")
	token := flags.String("token", os.Getenv("ACTIONS_RUNNER_INPUT_TOKEN"), "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return fmt.Errorf("remove: %w", errors.Join(err, unknown(flags)))
	}
	if !*local {
		instance, err := settingsFolder(root).load()
		if err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		if *token == "" {
			return errors.New("remove: a token (ACTIONS_RUNNER_INPUT_TOKEN) is needed")
		}
		urls, err := runnerconfiguration.NewGithubApiUrlBuilder(instance.RegistrationURL)
		if err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		address, err := urls.ScopedApiUrl(fmt.Sprintf("actions/runners/%d", instance.Agent.ID))
		if err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		if err := admin(*token).RequestWithContext2(ctx, http.MethodDelete, address, "", nil, nil); err != nil {
			return fmt.Errorf("remove: %s: %w", instance.Agent.Name, err)
		}
	}
	settingsFolder(root).clear()
	fmt.Println("√ Runner removed successfully")
	return nil
}
