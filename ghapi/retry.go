package ghapi

import (
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	attempts     = 5
	firstPause   = 500 * time.Millisecond
	maxPause     = time.Minute     // of one wait; a longer one is reported instead
	maxPatience  = 3 * time.Minute // of all waits of one call
	attemptLimit = 30 * time.Second
	answerLimit  = 10 * time.Second // for the answer to a request that was sent before an interruption
)

// newBudget stays below GitHub's secondary limit of 900 points a minute, with bursts of up to
// 600 points.
func newBudget() *rate.Limiter { return rate.NewLimiter(5, 600) }

// points returns the cost of one request, regardless of its outcome.
func points(method string) int {
	if method == http.MethodGet {
		return 1
	}
	return 5
}

// outliving returns a context that ends some time after ctx.
func outliving(ctx context.Context, by time.Duration) (context.Context, func()) {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-lasting.Done():
		case <-time.After(by):
			end()
		}
	})
	return lasting, func() {
		stop()
		end()
	}
}

// pause decides whether a failed request is worth another attempt, and after how long. attempt
// counts from 0.
func pause(status int, header http.Header, message string, err error, attempt int) (time.Duration, bool) {
	backoff := firstPause << attempt
	backoff += rand.N(backoff / 4) //nolint:gosec // spreads attempts, keeps no secret
	switch {
	case status == 0:
		return backoff, !permanent(err)
	case limited(status, header, message):
		return limitPause(header)
	case status >= 500 && status != http.StatusNotImplemented:
		if seconds, ok := retryAfter(header); ok {
			return seconds, seconds <= maxPause
		}
		return backoff, true
	}
	return 0, false
}

// limited reports whether an answer is a rate limit and not a missing permission: both answer
// 403.
func limited(status int, header http.Header, message string) bool {
	if status == http.StatusTooManyRequests {
		return true
	}
	if status != http.StatusForbidden {
		return false
	}
	_, given := retryAfter(header)
	message = strings.ToLower(message)
	return given || header.Get("X-RateLimit-Remaining") == "0" || strings.Contains(message, "rate limit") || strings.Contains(message, "abuse detection")
}

// limitPause returns how long to wait for a limit. A secondary limit that names no time asks
// for a minute (GitHub's documentation).
func limitPause(header http.Header) (time.Duration, bool) {
	wait := maxPause
	if seconds, ok := retryAfter(header); ok {
		wait = seconds
	} else if header.Get("X-RateLimit-Remaining") == "0" {
		if reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			now, err := http.ParseTime(header.Get("Date")) // GitHub's clock: the local one may be off
			if err != nil {
				now = time.Now()
			}
			wait = max(time.Unix(reset, 0).Sub(now), 0) + time.Second
		}
	}
	return wait, wait <= maxPause
}

func retryAfter(header http.Header) (time.Duration, bool) {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second, err == nil && seconds >= 0
}

// permanent reports whether another attempt would fail in the same way.
func permanent(err error) bool {
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var lookup *net.DNSError
	return errors.As(err, &unknown) || errors.As(err, &wrongName) || errors.As(err, &invalid) || errors.As(err, &lookup) && lookup.IsNotFound ||
		errors.Is(err, errNotJSON) || errors.Is(err, errElsewhere) || errors.Is(err, errKey)
}

func connectionAdvice(err error, host string) string {
	var unknown x509.UnknownAuthorityError
	var lookup *net.DNSError
	switch {
	case errors.Is(err, errKey):
		return "github.app.keyFile must be the App's private key, a PEM file that its settings page generated"
	case errors.As(err, &unknown):
		return "if " + host + " has a certificate of your own authority, set github.caFile to that authority"
	case errors.Is(err, errNotJSON), errors.Is(err, errElsewhere):
		return "check that " + host + " is a GitHub Enterprise Server and that no proxy's login page answers instead"
	case errors.As(err, &lookup):
		return "check the host name in target, DNS, and HTTPS_PROXY if a proxy is needed"
	case errors.Is(err, context.Canceled):
		return ""
	}
	return "check that this machine reaches https://" + host + ", and HTTPS_PROXY if a proxy is needed"
}

func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
