package selftest

import (
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// PlaceKey adds a key called name to this user's keys in the kernel and returns its number.
// Every process that can see this user's keys may see it. remove deletes it.
func PlaceKey(name string) (serial string, remove func(), err error) {
	type placed struct {
		id  int
		err error
	}
	found, done, gone := make(chan placed), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread() // permanently: the keyring belongs to the thread, and ends with it
		const everybodyViews = 0x3f010101
		id, err := unix.AddKey("user", name, []byte("canary"), unix.KEY_SPEC_THREAD_KEYRING)
		if err == nil {
			_, err = unix.KeyctlInt(unix.KEYCTL_SETPERM, id, everybodyViews, 0, 0)
		}
		found <- placed{id, err}
		<-done
	}()
	remove = func() { close(done); <-gone }
	one := <-found
	if one.err != nil {
		remove()
		return "", nil, fmt.Errorf("a canary key: %w", one.err)
	}
	return strconv.Itoa(one.id), remove, nil
}
