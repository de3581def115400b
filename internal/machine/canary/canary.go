//go:build linux

package canary

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Run is the process of a canary. Its arguments are TOKEN and FILE: the file holds the token, and
// so do the process's arguments and the answers of a port on every address, of one on localhost
// and of an abstract socket. It has a segment of System V memory. It prints "PORT LOCALPORT KEY",
// ends when its standard input has a byte or ends, and leaves nothing.
func Run(arguments []string, in io.Reader, out, errs io.Writer) (code int) {
	if len(arguments) != 2 {
		fmt.Fprintln(errs, "canary: the arguments must be a token and a file")
		return 2
	}
	if err := place(arguments[0], arguments[1], in, out); err != nil {
		fmt.Fprintf(errs, "canary: %v\n", err)
		return 1
	}
	return 0
}

func place(token, path string, in io.Reader, out io.Writer) (err error) {
	if err := os.WriteFile(path, []byte(token+"\n"), 0o644); err != nil { //nolint:gosec // others may read it if they reach it
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	ports := []any{}
	for _, at := range []struct{ network, address string }{{"tcp4", "0.0.0.0:0"}, {"tcp4", "127.0.0.1:0"}, {"unix", "@" + token}} {
		listener, err := net.Listen(at.network, at.address)
		if err != nil {
			return err
		}
		defer func() { _ = listener.Close() }()
		go serve(listener, func(client net.Conn) { _, _ = io.WriteString(client, token+"\n") })
		if address, ok := listener.Addr().(*net.TCPAddr); ok {
			ports = append(ports, address.Port)
		}
	}
	key := 1 + rand.IntN(0x7ffffff0) //nolint:gosec // a name, no secret
	memory, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	defer func() {
		if _, removed := unix.SysvShmCtl(memory, unix.IPC_RMID, nil); removed != nil {
			err = errors.Join(err, fmt.Errorf("remove shared memory: %w", removed))
		}
	}()
	if _, err := fmt.Fprintln(out, append(ports, key)...); err != nil {
		return err
	}
	_, _ = in.Read(make([]byte, 1)) // any result is the request to end
	return nil
}

// Count is the process of a counter. It prints its port and answers each client with the number
// of bytes that it received, until it is killed.
func Count(out, errs io.Writer) (code int) {
	listener, err := net.Listen("tcp4", "0.0.0.0:0") //nolint:gosec // for another runner
	if err == nil {
		_, err = fmt.Fprintln(out, listener.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert,errorlint // of a TCP listener
	}
	if err != nil {
		fmt.Fprintf(errs, "counter: %v\n", err)
		return 1
	}
	serve(listener, func(client net.Conn) {
		received, _ := io.Copy(io.Discard, client)
		_, _ = fmt.Fprintln(client, received)
	})
	return 0
}

// serve answers each client in turn until the listener is closed.
func serve(listener net.Listener, answer func(net.Conn)) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		answer(client)
		_ = client.Close()
	}
}
