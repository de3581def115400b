package dockerx

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// silentLimit is how long sent data may stay unconfirmed.
const silentLimit = 11 * time.Second

// limitSilence ends a connection on which sent data is not confirmed: the system's own limit
// is a quarter of an hour.
func limitSilence(_, _ string, raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentLimit.Milliseconds()))
	})
	return errors.Join(err, set)
}
