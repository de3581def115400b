//go:build linux

package process

import (
	"os"
	"testing"
)

func TestThreadsAreKept(t *testing.T) {
	KeepThreads()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < spareThreads {
		t.Errorf("%d threads, %v, want %d", len(threads), err, spareThreads)
	}
}
