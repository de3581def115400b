//go:build linux

// Package dial tries connections for a probe container, whose image has neither bash nor nc. It
// imports no package of runnerctl.
package dial

import (
	"net"
	"strconv"
	"time"
)

// First arguments of the program.
const (
	Listens  = "listens"  // HOST PORT SECONDS: code 0 if something listens there
	Resolver = "resolver" // ADDRESS: code 0 if a DNS server answers there
)

const (
	codeUsage     = 2
	resolverLimit = 2 * time.Second
)

// RunListens connects to a port by TCP.
func RunListens(arguments []string) (code int) {
	if len(arguments) != 3 {
		return codeUsage
	}
	seconds, err := strconv.Atoi(arguments[2])
	if err != nil {
		return codeUsage
	}
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(arguments[0], arguments[1]), time.Duration(seconds)*time.Second)
	if err != nil {
		return 1
	}
	_ = connection.Close()
	return 0
}

// question asks for the servers of DNS's root. Any answer will do (RFC 1035, section 4.1).
const question = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"

// RunResolver asks a DNS server a question.
func RunResolver(arguments []string) (code int) {
	if len(arguments) != 1 {
		return codeUsage
	}
	return resolver(net.JoinHostPort(arguments[0], "53"))
}

func resolver(address string) (code int) {
	connection, err := net.DialTimeout("udp", address, resolverLimit)
	if err != nil {
		return 1
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(resolverLimit)); err != nil {
		return 1
	}
	answer := make([]byte, 2)
	if _, err := connection.Write([]byte(question)); err != nil {
		return 1
	}
	if n, err := connection.Read(answer); err != nil || n < len(answer) || string(answer) != question[:2] {
		return 1
	}
	return 0
}
