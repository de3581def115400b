package commands

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

// probeCommand is what a probe container runs on an engine that has no image yet:
// this program itself (dockerx, ProbeOptions.Program).
func probeCommand(d deps) *cli.Command {
	return &cli.Command{
		Name: "__probe", Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) == 0 {
				return &usageError{problem: "__probe: how many addresses?"}
			}
			count, err := strconv.Atoi(args[0])
			if args = args[1:]; err != nil || count > len(args) {
				return &usageError{problem: "__probe: how many addresses?"}
			}
			return tellProbe(d.streams.Out, os.DirFS("/machine"), args[:count], args[count:])
		},
	}
}

// tellProbe says what the engine's probe script says, in its words.
func tellProbe(w io.Writer, machine fs.FS, addresses, patterns []string) error {
	listening := make([]bool, len(addresses))
	var dials sync.WaitGroup
	for i, address := range addresses {
		dials.Go(func() {
			connection, err := net.DialTimeout("tcp", address, time.Second)
			if listening[i] = err == nil; listening[i] {
				_ = connection.Close()
			}
		})
	}
	space, err := spaceAt("/")
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "space %d 1 %d %d\n", space.Free, space.Inodes, space.AllInodes)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	tellContent(w, "mounts", mounts)
	for _, pattern := range patterns {
		paths, err := fs.Glob(machine, pattern)
		if err != nil {
			return fmt.Errorf("%s: %w", pattern, err)
		}
		for _, path := range paths {
			info, err := fs.Stat(machine, path)
			if err != nil {
				continue
			}
			fmt.Fprintf(w, "mode %o %s\n", info.Mode().Perm(), path)
			if !info.Mode().IsRegular() {
				continue
			}
			if content, err := fs.ReadFile(machine, path); err == nil { // else it is closed to us
				tellContent(w, path, content)
			}
		}
	}
	dials.Wait()
	for i, address := range addresses {
		if listening[i] {
			fmt.Fprintln(w, "connected", address)
		}
	}
	return nil
}

func tellContent(w io.Writer, name string, content []byte) {
	fmt.Fprintf(w, "content %s\n%s\n\n", name, base64.StdEncoding.EncodeToString(content))
}
