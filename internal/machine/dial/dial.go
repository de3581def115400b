// Package dial tries connections for a probe container: as the runtime in an image that has
// neither bash nor nc, and as runnerctl itself. It imports no package of runnerctl.
package dial

import (
	"net"
	"strconv"
	"time"
)

// First arguments of the runtime.
const (
	ListensArgument  = "listens"  // HOST PORT SECONDS: code 0 if something listens there
	ResolverArgument = "resolver" // ADDRESS: code 0 if a DNS server answers there
)

const (
	codeUsage     = 2
	resolverLimit = 2 * time.Second
)

// RunListens is Listens as a process.
func RunListens(arguments []string) (code int) {
	if len(arguments) != 3 {
		return codeUsage
	}
	seconds, err := strconv.Atoi(arguments[2])
	if err != nil {
		return codeUsage
	}
	return codeOf(Listens(net.JoinHostPort(arguments[0], arguments[1]), time.Duration(seconds)*time.Second))
}

// RunResolver is Resolver as a process.
func RunResolver(arguments []string) (code int) {
	if len(arguments) != 1 {
		return codeUsage
	}
	return codeOf(Resolver(arguments[0]))
}

func codeOf(good bool) (code int) {
	if good {
		return 0
	}
	return 1
}

// Listens reports whether a server accepts a connection by TCP at HOST:PORT.
func Listens(address string, limit time.Duration) bool {
	connection, err := net.DialTimeout("tcp", address, limit)
	if err == nil {
		_ = connection.Close()
	}
	return err == nil
}

// question asks for the servers of DNS's root. Any answer will do (RFC 1035, section 4.1).
const question = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"

// Resolver reports whether a DNS server answers at an address.
func Resolver(address string) bool { return answers(net.JoinHostPort(address, "53")) }

func answers(address string) bool {
	connection, err := net.DialTimeout("udp", address, resolverLimit)
	if err != nil {
		return false
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(resolverLimit)) // it fails only for a closed connection
	if _, err := connection.Write([]byte(question)); err != nil {
		return false
	}
	answer := make([]byte, 2)
	n, err := connection.Read(answer)
	return err == nil && n == len(answer) && string(answer) == question[:2]
}
