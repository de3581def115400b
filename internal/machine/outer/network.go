//go:build linux

package outer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/process"
	"github.com/runnerctl/runnerctl/internal/machine/rootfs"
)

const (
	// maxLog is the length in bytes of a driver's log at which it is ended: one whose interface
	// is gone logs endlessly.
	maxLog = 64 << 10
	// maxLines is the number of lines of it that are repeated.
	maxLines = 10
)

// network is the program for the machine's network. A machine without one is useless, so it
// ends with it.
type network struct {
	driver  string
	running *process.Process
	log     chan []string
}

// driverArguments is the command line of the driver for the machine with that init. Its
// addresses are link-local, so that no network of a job hides them.
func driverArguments(settings machine.Network, pid int) []string {
	mtu := strconv.Itoa(settings.MTU)
	if settings.Driver == machine.Pasta {
		return []string{
			"--foreground", "--quiet", "--config-net", "--ns-ifname", "tap0", "--mtu", mtu, "--ipv4-only", "--no-map-gw",
			"--address", "169.254.213.100", "--netmask", "255.255.255.0", "--gateway", "169.254.213.2", "--dns-forward", rootfs.NetworkDNS,
			"--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none", strconv.Itoa(pid),
		}
	}
	return []string{"--configure", "--cidr=169.254.213.0/24", "--mtu=" + mtu, "--disable-host-loopback", strconv.Itoa(pid), "tap0"}
}

func (c *container) startNetwork(settings machine.Network, pid int) (*network, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	running, err := c.reaper.Start(process.Spec{
		Path: settings.Driver, Args: driverArguments(settings, pid), Env: withoutSecrets(os.Environ()), Files: []*os.File{nil, nil, write},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // a terminal's Ctrl-C is for the machine
	})
	write.Close()
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing", settings.Driver)
	}
	if err != nil {
		return nil, err
	}
	n := &network{driver: settings.Driver, running: running, log: make(chan []string, 1)}
	go func() {
		limited := &io.LimitedReader{R: read, N: maxLog}
		n.log <- firstLines(limited)
		if limited.N <= 0 {
			_ = running.Signal(unix.SIGKILL)
		}
		read.Close()
	}()
	return n, nil
}

// firstLines reads to the end and returns the first lines.
func firstLines(from io.Reader) (lines []string) {
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, maxLog)
	for scanner.Scan() {
		if len(lines) < maxLines {
			lines = append(lines, scanner.Text())
		}
	}
	return lines
}

// words returns the first lines that the driver wrote, after its end.
func (n *network) words() []string {
	select {
	case lines := <-n.log:
		return lines
	case <-time.After(time.Second): // another process has its standard error too
		return nil
	}
}
