//go:build linux

package process

import (
	"runtime/debug"
	"time"
)

// FreeMemory returns the memory of this process's start to the kernel, after 2 s: other runners
// may start at this moment.
func FreeMemory() { time.AfterFunc(2*time.Second, debug.FreeOSMemory) }
