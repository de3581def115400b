// pack builds the agent and packs it with the layout of a release of GitHub's
// runner. The same sources give the same archive, byte by byte.
//
//	go run ./pack -o FILE.tar.gz [-arch amd64] [-env NAME=VALUE]… [-file NAME=PATH]…
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(value string) error {
	if !strings.Contains(value, "=") {
		return fmt.Errorf("%q is not NAME=VALUE", value)
	}
	*l = append(*l, value)
	return nil
}

func main() {
	output := flag.String("o", "", "the archive to write")
	arch := flag.String("arch", runtime.GOARCH, "amd64 or arm64")
	var env, files list
	flag.Var(&env, "env", "a line NAME=VALUE of .env; may be repeated")
	flag.Var(&files, "file", "a further file, NAME=PATH; may be repeated")
	flag.Parse()
	if *output == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := pack(*output, *arch, env, files); err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}

func pack(output, arch string, env, files []string) (err error) {
	folder, err := os.MkdirTemp("", "testagent-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	binary := filepath.Join(folder, "Runner.Listener")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, said)
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	whole, err := os.CreateTemp(filepath.Dir(output), filepath.Base(output)+".")
	if err != nil {
		return err
	}
	defer os.Remove(whole.Name())
	zip := gzip.NewWriter(whole)
	archive := tar.NewWriter(zip)
	if err := add(archive, "bin/Runner.Listener", binary, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		name, path, _ := strings.Cut(file, "=")
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		if err := add(archive, name, path, mode); err != nil {
			return err
		}
	}
	if len(env) > 0 {
		lines := filepath.Join(folder, ".env")
		if err := os.WriteFile(lines, []byte(strings.Join(env, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		if err := add(archive, ".env", lines, 0o644); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zip.Close(), whole.Chmod(0o644), whole.Close()); err != nil {
		return err
	}
	return os.Rename(whole.Name(), output)
}

func add(archive *tar.Writer, name, path string, mode int64) error {
	content, err := os.Open(path)
	if err != nil {
		return err
	}
	defer content.Close()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: info.Size(), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}
