//go:build linux

// Package regular reads files of a job's machine. A job may put a pipe in the place of a file,
// or a file without an end. It imports no package of runnerctl.
package regular

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Max is the length in bytes up to which a file is read.
const Max = 1 << 20

// ReadFile returns the beginning of a regular file, and an error for anything else.
func ReadFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return Read(file)
}

// Read is ReadFile for an open file, which must be open with O_NONBLOCK.
func Read(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file.Name())
	}
	return io.ReadAll(io.LimitReader(file, Max))
}
