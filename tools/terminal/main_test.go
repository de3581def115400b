package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each drawing moves up and erases the last one, as runnerctl's live lines do.
const live = `#!/bin/sh
[ -t 1 ] || exit 1
printf '\033]0;a title\007'
printf 'checks \033[32m✔\033[0m 3 passed\n'
for step in 1 2 3; do
	printf '| ci-1   \033[2mstep %s\033[0m\n/ ci-2   \033[2mstarting\033[0m\n' "$step"
	sleep 0.05
	printf '\033[2A\033[J'
done
printf '\033[32m✔\033[0m ci-1   ready\n\033[31m✘\033[0m ci-2   failed'
printf '\rX\033[K\r\033[31m✘\033[0m ci-2   ended'
`

func TestPictureOfWhatIsThereInTheEnd(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, "fleet"), []byte(live), 0o755); err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(dir, "light.svg"), filepath.Join(dir, "dark.svg")}
	if err := take([]string{"-light", files[0], "-dark", files[1], "-title", "a window", "fleet up", "stty size"}); err != nil {
		t.Fatal(err)
	}
	want := "$ fleet up\nchecks ✔ 3 passed\n✔ ci-1   ready\n✘ ci-2   ended\n\n$ stty size\n60 96"
	for _, file := range files {
		picture, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, picture, "desc"); got[0] != want {
			t.Errorf("%s shows\n%s\nwant\n%s", file, got[0], want)
		}
		if got := strings.Join(texts(t, picture, "text"), " "); got != "a window $ fleet up checks ✔ 3 passed ✔ ci-1 ready ✘ ci-2 ended $ stty size 60 96" {
			t.Errorf("%s draws %s", file, got)
		}
		if len(picture) > 5000 {
			t.Errorf("%s has %d bytes", file, len(picture))
		}
	}
}

func TestNoPicture(t *testing.T) {
	for command, want := range map[string]string{
		"echo lost; exit 3":                      "exit status 3; the terminal shows\n$ echo lost; exit 3\nlost",
		"true":                                   "true: no output",
		`printf 'a\nb'; printf '\r\033[A\033[J'`: "no output",
		"echo on; sleep 60":                      "it did not end within 3s; the terminal shows\n$ echo on; sleep 60\non",
		"seq 100":                                "more than the 60 lines of a picture",
		"not-a-command":                          "exit status 127",
	} {
		dir := t.TempDir()
		err := take([]string{"-light", filepath.Join(dir, "light.svg"), "-dark", filepath.Join(dir, "dark.svg"), "-timeout", "3s", "echo first", command})
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "$ echo first\nfirst\n\n", ""), want) {
			t.Errorf("%s: %v; want %q", command, err, want)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%s: %v is written", command, files)
		}
	}
}
