//go:build linux

package process

import (
	"runtime"
	"sync"
)

// spareThreads is the number of threads that a busy program of the machine needs: Go ends a
// program that can't get another one, and a job may use up the runner's processes.
const spareThreads = 8

// KeepThreads makes threads, which Go then keeps.
func KeepThreads() {
	var together, all sync.WaitGroup
	together.Add(spareThreads)
	for range spareThreads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			together.Done()
			together.Wait()
		})
	}
	all.Wait()
}
