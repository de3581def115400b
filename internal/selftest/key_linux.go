package selftest

import (
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// PlaceKey puts a key of this user into the kernel, named name, which everybody may
// see who sees keys of this user; its number. It goes with remove.
func PlaceKey(name string) (serial string, remove func(), err error) {
	type placed struct {
		id  int
		err error
	}
	found, done, gone := make(chan placed), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread() // for good: the keyring is the thread's, and ends with it
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
