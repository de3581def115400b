package dockerx

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// "aGVs bG8=" is "hello", as base64 breaks lines.
const probeOutput = "space 10 4096 7 9\nmode 444 proc/x\nmode 600 dev/net/tun\ncontent mounts\naGVs\nbG8=\n\ncontent proc/x\naGVsbG8=\n\n\nconnected 10.0.0.1:80\nend\n"

func TestReadProbe(t *testing.T) {
	probed, err := readProbe(probeOutput)
	if err != nil {
		t.Fatal(err)
	}
	if probed.Mounts != "hello" || probed.Free != 40960 || probed.Inodes != 7 || probed.AllInodes != 9 || !probed.Connected["10.0.0.1:80"] {
		t.Errorf("got %+v, want the mounts hello, 40960 bytes, 7 of 9 inodes, and a connection to 10.0.0.1:80", probed)
	}
	if text, err := fs.ReadFile(probed.Files, "proc/x"); err != nil || string(text) != "hello" {
		t.Errorf("got %q, %v, want %q", text, err, "hello")
	}
	if info, err := fs.Stat(probed.Files, "dev/net/tun"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want the mode 0600", info, err)
	}
}

// A kernel's configuration, which the program prints in one line.
func TestReadProbeOfLargeFile(t *testing.T) {
	large := strings.Repeat("CONFIG_X=y\n", 20_000)
	probed, err := readProbe(strings.Replace(probeOutput, "aGVsbG8=", base64.StdEncoding.EncodeToString([]byte(large)), 1))
	if err != nil {
		t.Fatalf("%.200s", err)
	}
	if text, err := fs.ReadFile(probed.Files, "proc/x"); err != nil || string(text) != large {
		t.Errorf("%d bytes, %v, want %d", len(text), err, len(large))
	}
}

// The engine lost a part of the output.
func TestReadProbeOfCutOutput(t *testing.T) {
	for lost := 1; lost < len(probeOutput)-len("space "); lost += 7 {
		text := probeOutput[:len(probeOutput)-lost]
		if probed, err := readProbe(text); !errors.Is(err, errCut) {
			t.Errorf("%q: got %+v, %v, want %v", text, probed, err, errCut)
		}
	}
}

func TestReadProbeRefuses(t *testing.T) {
	for _, text := range []string{"", "/bin/sh: stat: not found\n", strings.Replace(probeOutput, "444", "4x4", 1), strings.Replace(probeOutput, "aGVs\n", "****\n", 1), strings.Replace(probeOutput, "10 4096", "ten", 1)} {
		if probed, err := readProbe(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, probed)
		}
	}
}
