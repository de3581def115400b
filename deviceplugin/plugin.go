package main

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	device   = "/dev/net/tun"
	resource = "dev.runnerctl/tun"
	// pods is the number of pods of a node that may have the device. It is shared, so this is only
	// larger than the number of pods that a node runs.
	pods = 1000
)

// plugin offers one device of the node many times.
type plugin struct {
	api.UnimplementedDevicePluginServer
}

// GetDevicePluginOptions implements api.DevicePluginServer.
func (plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch lists the devices once: their number never changes.
func (plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	all := make([]*api.Device, pods)
	for i := range all {
		all[i] = &api.Device{ID: strconv.Itoa(i), Health: api.Healthy}
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: all}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate gives each container the same device.
func (plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for range request.GetContainerRequests() {
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Devices: []*api.DeviceSpec{{ContainerPath: device, HostPath: device, Permissions: "rw"}},
		})
	}
	return answer, nil
}
