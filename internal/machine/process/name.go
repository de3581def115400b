//go:build linux

package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetName names this process for ps, in up to 15 bytes.
func SetName(name string) {
	text := append([]byte(name), 0)
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(unsafe.SliceData(text))), 0, 0, 0)
}
