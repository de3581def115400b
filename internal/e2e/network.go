//go:build linux

package e2e

import (
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/session"
)

// AnswerAddress serves DNS for one name until the connection is closed.
func AnswerAddress(connection net.PacketConn, name string, address [4]byte) {
	packet := make([]byte, 512)
	for {
		n, from, err := connection.ReadFrom(packet)
		if err != nil {
			return
		}
		var message dnsmessage.Message
		if message.Unpack(packet[:n]) != nil || len(message.Questions) != 1 {
			continue
		}
		message.Response, message.Additionals = true, nil
		question := message.Questions[0]
		switch {
		case question.Name.String() != name:
			message.RCode = dnsmessage.RCodeNameError
		case question.Type == dnsmessage.TypeA:
			header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 1}
			message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: address}}}
		}
		if answer, err := message.Pack(); err == nil {
			_, _ = connection.WriteTo(answer, from) // a client without an answer asks again
		}
	}
}

// Relay listens on loopback and hands on each connection together with one to a socket.
func Relay(t *testing.T, socket string, hand func(near, far net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", socket)
			if err != nil {
				_ = near.Close()
				continue
			}
			go hand(near, far)
		}
	}()
	return listener.Addr().String()
}

// BridgeAddress returns the address at which containers reach this machine.
func BridgeAddress(t *testing.T) string {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	address, err := engine.Bridge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address.String()
}

// PlainEngine starts an engine with an image "empty", which holds nothing.
func PlainEngine(t *testing.T, options enginetest.Options) *enginetest.Engine {
	t.Helper()
	engine := enginetest.Start(t, options)
	none := strings.NewReader(strings.Repeat("\x00", 1024)) // the end of an archive
	if err := enginetest.ImportImage(t.Context(), engine.API, "empty", none); err != nil {
		t.Fatal(err)
	}
	return engine
}
