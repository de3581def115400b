package ghsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options configure a stand-in. The zero value serves on free ports of localhost, with
// GitHub's own times, except that Linger is shorter than GitHub's. RunnerAddress has no TLS
// because runners don't know the CA; give it the address of a Docker bridge to make it
// reachable from containers.
type Options struct {
	Address       string // REST over TLS; "127.0.0.1:0" if empty
	RunnerAddress string // for runners, without TLS; "127.0.0.1:0" if empty
	RunnerTLS     bool   // RunnerAddress uses TLS too: runners know the CA

	Version      string // of the Enterprise Server; "3.17.0" if empty. Before 3.10 there are no JIT configurations
	JITMayUpdate bool   // JIT configurations let the runner update itself

	PollTimeout    time.Duration // how long a poll for messages waits; default 50 s
	SessionTimeout time.Duration // a runner that has not polled for this long is offline; default 100 s
	AcquireTimeout time.Duration // a job that is assigned but not acquired returns to the queue; default 2 min
	JobLock        time.Duration // a running job that is not renewed has lost its runner; default 10 min
	Linger         time.Duration // how long an ephemeral runner stays busy after its job; default 200 ms; negative: 0
}

func (o Options) withDefaults() Options {
	for field, value := range map[*string]string{&o.Address: "127.0.0.1:0", &o.RunnerAddress: "127.0.0.1:0", &o.Version: "3.17.0"} {
		if *field == "" {
			*field = value
		}
	}
	for field, value := range map[*time.Duration]time.Duration{&o.PollTimeout: 50 * time.Second, &o.SessionTimeout: 100 * time.Second, &o.AcquireTimeout: 2 * time.Minute, &o.JobLock: 10 * time.Minute, &o.Linger: 200 * time.Millisecond} {
		if *field == 0 {
			*field = value
		}
	}
	return o
}

// Server is a stand-in GitHub. All its methods are safe for concurrent use. Its URL is like
// that of a GitHub Enterprise Server: URL/OWNER/REPO is a target, URL/api/v3/ and URL/ are the
// API.
type Server struct {
	URL       string // https://HOST:PORT, for targets and the API
	RunnerURL string // http://HOST:PORT, in the runners' configurations; https with RunnerTLS

	options Options
	ca      authority
	servers []*http.Server
	stop    context.CancelFunc
	ended   sync.WaitGroup

	mu      sync.Mutex // guards all fields below
	changed chan struct{}
	offset  time.Duration // of the stand-in's clock
	nextID  int64
	places  map[place]*holder
	actors  map[string]*actor // by token
	apps    map[int64]*app
	rate    rateLimit
	runners map[int64]*runner
	used    map[string]time.Time // ids of OAuth assertions, which are valid once
	jobs    []*job               // in the order of the queue
	blobs   map[string]*blob
	faults  []*Fault
	records []Request
}

// Start serves until Close. The private repository acme/api, the organization acme and the
// enterprise big exist from the start; the Add… methods add more.
func Start(options Options) (*Server, error) {
	s := &Server{
		options: options.withDefaults(), changed: make(chan struct{}), nextID: 100,
		places: map[place]*holder{}, actors: map[string]*actor{}, apps: map[int64]*app{}, rate: rateLimit{limit: 5000},
		runners: map[int64]*runner{}, used: map[string]time.Time{}, blobs: map[string]*blob{},
	}
	s.AddRepository("acme/api", Private)
	s.AddEnterprise("big")
	secure, err := net.Listen("tcp", s.options.Address)
	if err != nil {
		return nil, fmt.Errorf("stand-in GitHub at %s: %w", s.options.Address, err)
	}
	runners, err := net.Listen("tcp", s.options.RunnerAddress)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stand-in GitHub for runners at %s: %w", s.options.RunnerAddress, err), secure.Close())
	}
	s.URL, s.RunnerURL = "https://"+secure.Addr().String(), "http://"+runners.Addr().String()
	if s.options.RunnerTLS {
		s.RunnerURL = "https://" + runners.Addr().String()
	}
	if s.ca, err = newAuthority(secure.Addr().(*net.TCPAddr).IP, runners.Addr().(*net.TCPAddr).IP); err != nil {
		return nil, errors.Join(fmt.Errorf("stand-in GitHub: %w", err), secure.Close(), runners.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	serve := func(listener net.Listener, handler http.Handler) {
		server := &http.Server{
			Handler: handler, TLSConfig: s.ca.config(), ReadHeaderTimeout: 10 * time.Second,
			BaseContext: func(net.Listener) context.Context { return ctx },
			ErrorLog:    log.New(io.Discard, "", 0), // tests cause refused certificates and dropped connections on purpose
		}
		s.servers = append(s.servers, server)
		s.ended.Go(func() {
			if listener == secure || s.options.RunnerTLS {
				_ = server.ServeTLS(listener, "", "") // always returns an error, in the end ErrServerClosed
			} else {
				_ = server.Serve(listener)
			}
		})
	}
	serve(secure, s.recorded(s.runnerHandler()))
	serve(runners, s.recorded(s.runnerHandler()))
	s.ended.Go(func() { s.watch(ctx) })
	return s, nil
}

// Close stops the server and drops open requests.
func (s *Server) Close() {
	s.stop()
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.ended.Wait()
}

// CA is the certificate that clients of URL must trust, as PEM.
func (s *Server) CA() []byte { return s.ca.pem }

// SetClockOffset makes the stand-in's clock wrong: for tokens, assertions, and the Date of
// answers.
func (s *Server) SetClockOffset(offset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset = offset
}

// now returns the time of the stand-in's clock. The caller must hold s.mu.
func (s *Server) now() time.Time { return time.Now().Add(s.offset) }

// id returns the next number. The caller must hold s.mu.
func (s *Server) id() int64 {
	s.nextID++
	return s.nextID
}

// announce wakes all goroutines that wait for a change. The caller must hold s.mu.
func (s *Server) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await calls ready under the lock, at once and after each change, until it returns true or
// ctx ends.
func (s *Server) await(ctx context.Context, ready func() bool) error {
	for {
		s.mu.Lock()
		done, changed := ready(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// watch ends sessions, jobs and runners that have timed out.
func (s *Server) watch(ctx context.Context) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.mu.Lock()
			s.expireSessions()
			s.expireJobs()
			s.expireRunners()
			s.mu.Unlock()
		}
	}
}
