package dockerx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docker/cli/cli/connhelper"
)

// wire opens the connections to a remote engine, including TLS, so that connections that the
// client takes over for streams behave like all others. When one of them falls silent, wire
// closes all of them and opens no new one for a while. Otherwise the client would retry on
// another connection, and its caller would wait a second time.
type wire struct {
	endpoint Endpoint
	dial     func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	open map[*strand]bool
	lost error // why the host fell silent
	when time.Time
}

// lostFor is how long no connection is tried after a host fell silent.
const lostFor = 5 * time.Second

func newWire(endpoint Endpoint, helper *connhelper.ConnectionHelper) *wire {
	w := &wire{endpoint: endpoint, open: map[*strand]bool{}}
	switch {
	case helper != nil:
		w.dial = helper.Dialer
	case endpoint.tls != nil:
		w.dial = (&tls.Dialer{NetDialer: &tcpDialer, Config: namedAfter(endpoint)}).DialContext
	default:
		w.dial = tcpDialer.DialContext
	}
	return w
}

// namedAfter returns an endpoint's TLS configuration, which checks the certificate against
// the host name of the address.
func namedAfter(endpoint Endpoint) *tls.Config {
	config := endpoint.tls.Clone()
	if at, err := url.Parse(endpoint.Host); err == nil && config.ServerName == "" {
		config.ServerName = at.Hostname()
	}
	return config
}

func (w *wire) connect(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	lost := w.lost
	if time.Since(w.when) > lostFor {
		lost = nil
	}
	w.mu.Unlock()
	if lost != nil {
		return nil, lost
	}
	started := time.Now()
	connection, err := w.dial(ctx, network, address)
	switch {
	case err != nil && time.Since(started) >= dialLimit: // sooner, the caller's own limit may have ended it
		return nil, w.fallSilent(err)
	case err != nil:
		return nil, err
	}
	one := &strand{connection, w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[one] = true
	return one, nil
}

// fallSilent closes all connections because one of them, or a new one, failed with err.
func (w *wire) fallSilent(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost, w.when = explain(w.endpoint, err), time.Now()
	for one := range w.open {
		delete(w.open, one)
		go func() { _ = one.Conn.Close() }() // ssh takes a while to end
	}
	return w.lost
}

// isSilence reports whether a connection ended because the host stopped answering. The system
// detects that, or ssh, which prints a message. A deadline does not count.
func isSilence(err error) bool {
	var system syscall.Errno
	return errors.As(err, &system) && system.Timeout() || strings.Contains(err.Error(), "not responding")
}

// strand is a connection of a wire.
type strand struct {
	net.Conn
	wire *wire
}

func (s *strand) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	return n, s.heard(err)
}

func (s *strand) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.heard(err)
}

func (s *strand) heard(err error) error {
	if err == nil {
		return nil
	}
	s.wire.mu.Lock()
	lost := s.wire.lost
	if s.wire.open[s] {
		lost = nil
	}
	s.wire.mu.Unlock()
	if lost != nil { // it was closed for that reason
		return lost
	}
	if isSilence(err) {
		return s.wire.fallSilent(err)
	}
	return err
}

// CloseWrite closes the sending side. The client looks for this method.
func (s *strand) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (s *strand) Close() error {
	s.wire.mu.Lock()
	delete(s.wire.open, s)
	s.wire.mu.Unlock()
	return s.Conn.Close()
}
