package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// registry is a kubelet's side of the registration.
type registry struct {
	api.UnimplementedRegistrationServer
	got chan *api.RegisterRequest
}

func (r registry) Register(_ context.Context, request *api.RegisterRequest) (*api.Empty, error) {
	r.got <- request
	return &api.Empty{}, nil
}

// A kubelet learns of the plugin, lists its devices, and gets the device for a container. When it
// removes the socket, as at its start, the plugin ends.
func TestPlugin(t *testing.T) {
	folder, err := os.MkdirTemp("", "tun-") // short: a socket's path is limited to 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	listener, err := net.Listen("unix", filepath.Join(folder, kubelet))
	if err != nil {
		t.Fatal(err)
	}
	side := registry{got: make(chan *api.RegisterRequest, 1)}
	node := grpc.NewServer()
	api.RegisterRegistrationServer(node, side)
	go func() { _ = node.Serve(listener) }()
	defer node.Stop()

	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, plugin{})
	ended := make(chan error, 1)
	go func() { ended <- run(t.Context(), server, folder) }()
	request := <-side.got
	if request.GetResourceName() != "dev.runnerctl/tun" || request.GetVersion() != "v1beta1" {
		t.Errorf("registered %+v, want dev.runnerctl/tun of v1beta1", request)
	}

	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, request.GetEndpoint()), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	client := api.NewDevicePluginClient(connection)
	stream, err := client.ListAndWatch(t.Context(), &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := stream.Recv()
	if err != nil || len(list.GetDevices()) != pods || list.GetDevices()[0].GetHealth() != api.Healthy {
		t.Errorf("%d devices, %v, want %d healthy ones", len(list.GetDevices()), err, pods)
	}
	answer, err := client.Allocate(t.Context(), &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{}, {}}})
	if err != nil || len(answer.GetContainerResponses()) != 2 {
		t.Fatalf("%+v, %v, want two answers", answer, err)
	}
	if got := answer.GetContainerResponses()[1].GetDevices()[0]; got.GetContainerPath() != device || got.GetHostPath() != device || got.GetPermissions() != "rw" {
		t.Errorf("got %+v, want %s, rw", got, device)
	}

	if err := os.Remove(filepath.Join(folder, socket)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errRestarted) {
			t.Errorf("got %v, want %v", err, errRestarted)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}

// Without a kubelet, the plugin ends with the path.
func TestNoKubelet(t *testing.T) {
	if err := register(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error, want one")
	}
}
