package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	socket  = "runnerctl-tun.sock"
	kubelet = "kubelet.sock"
	// limit bounds a registration.
	limit = 10 * time.Second
	// pause is the wait between two looks for the own socket.
	pause = time.Second
)

// errRestarted ends the program: it must register again.
var errRestarted = errors.New("the kubelet restarted: it removed this plugin's socket")

// run serves the plugin in the kubelet's folder, and registers it, until ctx ends.
func run(ctx context.Context, server *grpc.Server, folder string) error {
	path := filepath.Join(folder, socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that was killed
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Stop()
	if err := register(ctx, filepath.Join(folder, kubelet)); err != nil {
		return err
	}
	fmt.Printf("registered %s with the kubelet\n", resource)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return err
		case <-time.After(pause):
			if _, err := os.Stat(path); err != nil {
				return errRestarted
			}
		}
	}
}

func register(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	_, err = api.NewRegistrationClient(connection).Register(ctx, &api.RegisterRequest{Version: api.Version, Endpoint: socket, ResourceName: resource})
	if err != nil {
		return fmt.Errorf("register with the kubelet at %s: %w", path, err)
	}
	return nil
}
