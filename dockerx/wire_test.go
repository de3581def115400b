package dockerx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// ending is a connection that ends with an error once it is let.
type ending struct {
	net.Conn
	with   error
	closed chan bool
}

func (e *ending) Read([]byte) (int, error) {
	if e.with != nil {
		return 0, e.with
	}
	<-e.closed
	return 0, net.ErrClosed
}

func (e *ending) Close() error {
	close(e.closed)
	return nil
}

// Silence on one connection ends all connections and fails the following requests. A
// timeout of the caller, or an error from the other side, does not.
func TestWire(t *testing.T) {
	tests := map[string]struct {
		err    error
		silent bool
	}{
		"nothing confirmed": {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, true},
		"ssh":               {errors.New("command [ssh] has exited with exit status 255: stderr=Timeout, server vm not responding.\r\n"), true},
		"a deadline":        {fmt.Errorf("read: %w", os.ErrDeadlineExceeded), false},
		"a reset":           {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWire(Endpoint{Name: "box", Host: "tcp://box:2376"}, nil)
			next := test.err
			w.dial = func(context.Context, string, string) (net.Conn, error) {
				made := &ending{with: next, closed: make(chan bool)}
				next = nil
				return made, nil
			}
			connect := func() (net.Conn, error) { return w.connect(t.Context(), "tcp", "box:2376") }
			struck, err := connect()
			if err != nil {
				t.Fatal(err)
			}
			other, err := connect()
			if err != nil {
				t.Fatal(err)
			}
			var silence *HostError
			_, err = struck.Read(nil)
			if errors.As(err, &silence) != test.silent || !test.silent && !errors.Is(err, test.err) {
				t.Errorf("read: %v, want silent: %t, or %v", err, test.silent, test.err)
			}
			if third, err := connect(); errors.As(err, &silence) != test.silent || (third == nil) != test.silent {
				t.Errorf("another connection: %v, want silent: %t", err, test.silent)
			}
			if !test.silent {
				_ = other.Close()
			}
			if _, err := other.Read(nil); errors.As(err, &silence) != test.silent {
				t.Errorf("the other one: %v, want silent: %t", err, test.silent)
			}
		})
	}
}
