package facts

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/machine/dial"
)

// WriteProbe writes the same answers as the engine's probe script (dockerx/probe.go). machine
// is the engine's machine; addresses are dialled, and files that match patterns are read.
func WriteProbe(w io.Writer, machine fs.FS, addresses, patterns []string) error {
	answers := make([]string, len(addresses))
	var dials sync.WaitGroup
	for i, address := range addresses {
		dials.Go(func() {
			if address == dockerx.Resolvers {
				answers[i] = resolvers()
			} else if reachable(address) {
				answers[i] = "connected " + address + "\n"
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
	writeContent(w, "mounts", mounts)
	limits, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return err
	}
	writeContent(w, "limits", limits)
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
			if content, err := fs.ReadFile(machine, path); err == nil { // otherwise this user may not read it
				writeContent(w, path, content)
			}
		}
	}
	dials.Wait()
	_, err = io.WriteString(w, strings.Join(answers, "")+"end\n")
	return err
}

// reachable reports whether a server listens at HOST:PORT or HOST:PORT/SECONDS.
func reachable(address string) bool {
	place, limit, found := strings.Cut(address, "/")
	seconds, err := strconv.Atoi(limit)
	if !found || err != nil {
		seconds = 1
	}
	return dial.Listens(place, time.Duration(seconds)*time.Second)
}

// resolvers lists the DNS servers of resolv.conf, and which of them answer.
func resolvers() string {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return ""
	}
	var servers, answers strings.Builder
	var mu sync.Mutex
	var asking sync.WaitGroup
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		fmt.Fprintln(&servers, "server", fields[1])
		asking.Go(func() {
			if dial.Resolver(fields[1]) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintln(&answers, "answers", fields[1])
			}
		})
	}
	asking.Wait()
	return servers.String() + answers.String()
}

func writeContent(w io.Writer, name string, content []byte) {
	fmt.Fprintf(w, "content %s\n%s\n\n", name, base64.StdEncoding.EncodeToString(content))
}
