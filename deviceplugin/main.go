// The program is a device plugin of the kubelet: pods that ask for dev.runnerctl/tun get the node's
// /dev/net/tun (kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, plugin{})
	if err := run(ctx, server, api.DevicePluginPath); err != nil {
		fmt.Fprintf(os.Stderr, "deviceplugin: %v\n", err)
		os.Exit(1) // the DaemonSet starts it again
	}
}
