//go:build linux

package control

import (
	"os"

	"golang.org/x/sys/unix"
)

// ttyGroup is the group of terminals, which the mount of /dev/pts sets too.
const ttyGroup = 5

// Terminals opens terminals of one /dev/pts, even if a job hides or unmounts it.
type Terminals struct{ folder *os.File }

// OpenTerminals keeps a /dev/pts open.
func OpenTerminals(path string) (Terminals, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	return Terminals{folder}, err
}

// open returns both ends of a new terminal, whose own end belongs to the user.
func (t Terminals) open(rows, columns uint16, uid uint32) (outside, own *os.File, err error) {
	number, err := unix.Openat(int(t.folder.Fd()), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("open ptmx", err)
	}
	outside = os.NewFile(uintptr(number), "terminal")
	fail := func(call string, err error) (*os.File, *os.File, error) {
		outside.Close()
		return nil, nil, os.NewSyscallError(call, err)
	}
	if err := unix.IoctlSetPointerInt(number, unix.TIOCSPTLCK, 0); err != nil {
		return fail("unlock", err)
	}
	// By the descriptor: a job may have put something else at the terminal's name.
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(number), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fail("open the terminal", errno)
	}
	own = os.NewFile(peer, "own")
	if err := unix.Fchown(int(peer), int(uid), ttyGroup); err != nil {
		own.Close()
		return fail("chown", err)
	}
	if rows > 0 && columns > 0 {
		_ = resize(outside, rows, columns)
	}
	return outside, own, nil
}

func resize(terminal *os.File, rows, columns uint16) error {
	return unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
}

// size returns the size of a terminal, or zeros.
func size(terminal *os.File) (rows, columns uint16) {
	window, err := unix.IoctlGetWinsize(int(terminal.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return window.Row, window.Col
}

// makeRaw passes every key on and returns a function that restores the terminal.
func makeRaw(terminal *os.File) (restore func(), err error) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	raw := *before
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}
