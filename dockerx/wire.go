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

// wire opens the connections to an engine elsewhere, TLS included, so that those which
// the client takes over for streams are like all others. Where one falls silent all are
// closed, and for a while none is opened: the client would try again on another one, and
// whoever waits would wait once more.
type wire struct {
	endpoint Endpoint
	dial     func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	open map[*strand]bool
	lost error // why it fell silent
	when time.Time
}

// lostFor is how long a host that fell silent is not tried again.
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

// namedAfter has the certificate of an endpoint judged by its address's name.
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
	case err != nil && time.Since(started) >= dialLimit: // less is the patience of whoever asks
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

// fallSilent ends all connections for what one of them, or a new one, came to.
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

// isSilence tells the end by nobody's answer that the system finds, or ssh, which says so
// in words. A deadline is another matter.
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
	if lost != nil { // it was closed for that
		return lost
	}
	if isSilence(err) {
		return s.wire.fallSilent(err)
	}
	return err
}

// CloseWrite ends what is sent; the client looks for it.
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
