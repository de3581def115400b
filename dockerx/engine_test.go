package dockerx

import (
	"testing"

	"github.com/docker/docker/api/types/network"
)

func TestGatewayOf(t *testing.T) {
	tests := []struct {
		configs []network.IPAMConfig
		want    string // "": none
	}{
		{[]network.IPAMConfig{{Subnet: "172.17.0.0/16", Gateway: "172.17.0.9"}}, "172.17.0.9"},
		{[]network.IPAMConfig{{Subnet: "172.18.0.0/16"}}, "172.18.0.1"}, // an engine's first start
		{[]network.IPAMConfig{{Subnet: "fd00::/64"}, {Subnet: "10.99.0.0/30"}}, "10.99.0.1"},
		{[]network.IPAMConfig{{Subnet: "fd00::/64"}}, ""},
		{nil, ""},
	}
	for _, test := range tests {
		got, found := gatewayOf(test.configs)
		if found != (test.want != "") || found && got.String() != test.want {
			t.Errorf("%v: got %s %t, want %q", test.configs, got, found, test.want)
		}
	}
}
