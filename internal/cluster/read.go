package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/runnerctl/runnerctl/internal/hint"
)

// limit bounds a call.
const limit = 10 * time.Second

// maxAnswer bounds an answer in bytes: a list of five thousand nodes is shorter.
const maxAnswer = 256 << 20

// Server is the API server of a cluster.
type Server struct {
	client *http.Client
	base   string // its URL, without a slash at the end
}

// Connect reads a kubeconfig as kubectl does. Without a path it is $KUBECONFIG or ~/.kube/config,
// without a context the current one.
func Connect(path, inContext string) (*Server, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: inContext}).ClientConfig()
	if err != nil {
		return nil, hint.Add(fmt.Errorf("kubeconfig: %w", err), "kubectl config get-contexts lists the contexts; --kubeconfig and --context select one")
	}
	config.Timeout = limit
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return &Server{client, strings.TrimSuffix(base.String(), "/")}, nil
}

// errAbsent is a path that the server does not have.
var errAbsent = errors.New("not found")

// deniedError is a call that this user may not make.
type deniedError struct{ message string }

func (e *deniedError) Error() string { return e.message }

// Forms of an answer: a whole object, or one without its content.
const (
	object   = "application/json"
	metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

func (s *Server) get(ctx context.Context, path, accept string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", accept)
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("the API server: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the API server: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return json.Unmarshal(body, into)
	case http.StatusNotFound:
		return errAbsent
	case http.StatusUnauthorized:
		return hint.Add(errors.New("the API server does not accept the credential of the kubeconfig"), "kubectl get namespaces tests it")
	case http.StatusForbidden:
		var status struct{ Message string }
		_ = json.Unmarshal(body, &status) // a proxy's answer has none
		return &deniedError{strings.TrimSpace(response.Status + " " + status.Message)}
	}
	return fmt.Errorf("the API server: %s: %s", path, response.Status)
}

// Read reads the parts of a cluster that checks look at. A part that this user may not read is
// skipped by its checks.
func (s *Server) Read(ctx context.Context, wanted Wanted) (State, error) {
	r := reader{ctx: ctx, server: s, unread: map[string]string{}}
	state := State{Unread: r.unread}
	inNamespace := "/api/v1/namespaces/" + wanted.Namespace

	var version struct{ Minor string }
	if r.read("/version", object, &version, "version", "namespace") {
		state.Minor, _ = strconv.Atoi(strings.TrimRight(version.Minor, "+")) // some vendors add a sign
	}
	var namespace struct{ Metadata meta }
	if r.read(inNamespace, object, &namespace, "namespace") {
		state.Labels = map[string]string{}
		maps.Copy(state.Labels, namespace.Metadata.Labels)
	}
	var runtimeClass struct{ Handler string }
	if r.read("/apis/node.k8s.io/v1/runtimeclasses/"+class, object, &runtimeClass, "class") {
		state.Handler = runtimeClass.Handler
	}
	var nodes struct{ Items []node }
	if r.read("/api/v1/nodes", object, &nodes, "nodes", "kernel", "runtime", "device", "handler") {
		for _, one := range nodes.Items {
			state.Nodes = append(state.Nodes, one.facts())
		}
	}
	state.Secret = r.read(inNamespace+"/secrets/"+credential, metadata, &struct{}{}, "secret")
	state.Controller = r.read("/apis/"+group, object, &struct{}{}, "controller")
	var pods struct{ Items []pod }
	if r.read(inNamespace+"/pods", object, &pods, "pods") {
		for _, one := range pods.Items {
			if said := one.problem(); said != "" {
				state.Waiting = append(state.Waiting, Pod{one.Metadata.Name, said})
			}
		}
	}
	return state, r.err
}

// reader keeps the first error.
type reader struct {
	ctx    context.Context
	server *Server
	unread map[string]string
	err    error
}

// read reads a path for checks, and reports whether it is there.
func (r *reader) read(path, accept string, into any, checks ...string) (found bool) {
	if r.err != nil {
		return false
	}
	err := r.server.get(r.ctx, path, accept, into)
	var denied *deniedError
	switch {
	case errors.As(err, &denied):
		for _, check := range checks {
			r.unread["cluster."+check] = denied.message
		}
	case err != nil && !errors.Is(err, errAbsent):
		r.err = err
	}
	return err == nil
}

// meta is the metadata of an object.
type meta struct {
	Name   string
	Labels map[string]string
}

// node is a v1.Node.
type node struct {
	Metadata meta
	Status   struct {
		NodeInfo        struct{ KernelVersion, ContainerRuntimeVersion string }
		Allocatable     map[string]resource.Quantity
		RuntimeHandlers []struct {
			Name     string
			Features struct{ UserNamespaces bool }
		}
	}
}

func (n node) facts() Node {
	one := Node{
		Name: n.Metadata.Name, Kernel: n.Status.NodeInfo.KernelVersion, Runtime: n.Status.NodeInfo.ContainerRuntimeVersion,
		Prepared: n.Metadata.Labels[nodeLabel] == "true", Handlers: map[string]bool{},
	}
	devices := n.Status.Allocatable[device]
	one.Devices = devices.Value()
	for _, handler := range n.Status.RuntimeHandlers {
		one.Handlers[handler.Name] = handler.Features.UserNamespaces
	}
	return one
}

// pod is a v1.Pod.
type pod struct {
	Metadata meta
	Status   struct {
		Message           string
		ContainerStatuses []struct {
			State struct {
				Waiting    struct{ Reason, Message string }
				Terminated struct {
					ExitCode int
					Message  string
				}
			}
		}
	}
}

// problem returns why a pod does not run, or "".
func (p pod) problem() string {
	for _, one := range p.Status.ContainerStatuses {
		waiting, ended := one.State.Waiting, one.State.Terminated
		switch {
		case waiting.Message != "":
			return waiting.Reason + ": " + waiting.Message
		case ended.ExitCode != 0:
			return fmt.Sprintf("exit code %d: %s", ended.ExitCode, ended.Message)
		}
	}
	return p.Status.Message
}
