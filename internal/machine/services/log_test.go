//go:build linux

package services

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

type buffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}

func TestOutputIsSplitIntoLines(t *testing.T) {
	long := strings.Repeat("x", longestLine)
	for _, test := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"whole lines", []string{"one\ntwo\n"}, "dockerd: one\ndockerd: two\n"},
		{"a line in parts", []string{"o", "ne", "\n"}, "dockerd: one\n"},
		{"an incomplete line at the end", []string{"one\ntw", "o"}, "dockerd: one\ndockerd: two\n"},
		{"an empty line", []string{"\n"}, "dockerd: \n"},
		{"a line without an end", []string{long, "y\n"}, "dockerd: " + long + "\ndockerd: y\n"},
		{"nothing", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := new(buffer)
			output, err := NewLog(out).Output("dockerd")
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range test.writes {
				if _, err := output.Write.WriteString(text); err != nil {
					t.Fatal(err)
				}
				if len(text) >= longestLine {
					output.Flush()
				}
			}
			output.Flush()
			if got := out.String(); got != test.want {
				t.Errorf("got %.100q, want %.100q", got, test.want)
			}
			output.Write.Close()
		})
	}
}

// Several sources at once: no line is torn.
func TestLinesAreWhole(t *testing.T) {
	out := new(buffer)
	log := NewLog(out)
	var group sync.WaitGroup
	for _, source := range []string{"a", "b", "c"} {
		output, err := log.Output(source)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for range 200 {
				_, _ = output.Write.WriteString(strings.Repeat(source, 50) + "\n")
			}
			output.Flush()
		})
	}
	group.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 600 {
		t.Errorf("%d lines, want 600", len(lines))
	}
	for _, line := range lines {
		if source := line[:1]; line != source+": "+strings.Repeat(source, 50) {
			t.Fatalf("torn: %q", line)
		}
	}
}
