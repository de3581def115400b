package dial

import (
	"net"
	"strings"
	"testing"
)

func TestRunListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for _, test := range []struct {
		arguments string
		want      int
	}{{"127.0.0.1 " + port + " 1", 0}, {"127.0.0.1 1 1", 1}, {"127.0.0.1 " + port, codeUsage}, {"127.0.0.1 " + port + " soon", codeUsage}} {
		if got := RunListens(strings.Fields(test.arguments)); got != test.want {
			t.Errorf("%s: %d, want %d", test.arguments, got, test.want)
		}
	}
	_ = listener.Close()
	if got := RunListens([]string{"127.0.0.1", port, "1"}); got != 1 {
		t.Errorf("closed: %d, want 1", got)
	}
}

func TestResolver(t *testing.T) {
	for answer, want := range map[string]int{question[:2] + "\x81\x80": 0, "other": 1, "": 1} {
		server, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			asked := make([]byte, 512)
			n, from, err := server.ReadFrom(asked)
			if err != nil || string(asked[:n]) != question || answer == "" {
				return
			}
			_, _ = server.WriteTo([]byte(answer), from)
		}()
		if got := codeOf(answers(server.LocalAddr().String())); got != want {
			t.Errorf("answer %q: %d, want %d", answer, got, want)
		}
		_ = server.Close()
	}
	if got := RunResolver(nil); got != codeUsage {
		t.Errorf("no address: %d, want %d", got, codeUsage)
	}
}
