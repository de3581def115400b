package main

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/golangci/misspell"
)

// rule is a banned phrase.
type rule struct {
	pattern *regexp.Regexp
	hint    string
}

// exception allows a text in files.
type exception struct{ files, text string }

type rules struct {
	banned  []rule
	allowed []exception
	skipped []string
}

// parse reads the list. A line is one of
//
//	PATTERN => HINT
//	allow FILES TEXT # REASON
//	skip FILES # REASON
//
// A space in PATTERN stands for any white space. FILES is a pattern of path.Match; with /...
// at its end, it stands for a folder.
func parse(list string) (rules, error) {
	var all rules
	for i, line := range strings.Split(list, "\n") {
		fail := func(problem string) (rules, error) {
			return rules{}, fmt.Errorf("banned.txt:%d: %s", i+1, problem)
		}
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case word == "allow" || word == "skip":
			text, reason, _ := strings.Cut(rest, " # ")
			if reason == "" {
				return fail("an exception needs a reason")
			}
			files, text, _ := strings.Cut(text, " ")
			if _, err := path.Match(files, ""); err != nil || (word == "allow") != (text != "") {
				return fail("expected allow FILES TEXT # REASON, or skip FILES # REASON")
			}
			if word == "skip" {
				all.skipped = append(all.skipped, files)
			} else {
				all.allowed = append(all.allowed, exception{files, text})
			}
		default:
			expression, hint, _ := strings.Cut(line, " => ")
			if hint == "" {
				return fail("expected PATTERN => HINT")
			}
			pattern, err := regexp.Compile("(?i)" + strings.ReplaceAll(expression, " ", `\s+`))
			if err != nil {
				return fail(err.Error())
			}
			all.banned = append(all.banned, rule{pattern, hint})
		}
	}
	return all, nil
}

func matches(files, name string) bool {
	if folder, ok := strings.CutSuffix(files, "/..."); ok {
		return strings.HasPrefix(name, folder+"/")
	}
	ok, _ := path.Match(files, name) //nolint:errcheck // parse checked the pattern
	return ok
}

func (r rules) skips(name string) bool {
	for _, files := range r.skipped {
		if matches(files, name) {
			return true
		}
	}
	return false
}

// allows blanks the allowed texts of a file.
func (r rules) allows(name string, text []byte) {
	for _, one := range r.allowed {
		if !matches(one.files, name) {
			continue
		}
		for at := 0; ; {
			i := bytes.Index(text[at:], []byte(one.text))
			if i < 0 {
				break
			}
			blank(text[at+i : at+i+len(one.text)])
			at += i + len(one.text)
		}
	}
}

var spelling = misspell.New()

// question is a sentence that may begin with an interrogative.
var question = regexp.MustCompile(`(?i)\b(?:what|who)\b[^.;:!?]*\?`)

// check returns the findings in a file, as FILE:LINE: PHRASE: HINT.
func (r rules) check(name string, content []byte) []string {
	text := texts(name, content)
	if text == nil {
		return nil
	}
	r.allows(name, text)
	var found []string
	line := func(at int) int { return bytes.Count(text[:at], []byte("\n")) + 1 }
	_, typos := spelling.Replace(string(bytes.ReplaceAll(text, []byte{0}, []byte(" "))))
	for _, typo := range typos {
		found = append(found, fmt.Sprintf("%s:%d: %s: write %s", name, typo.Line, typo.Original, typo.Corrected))
	}
	for _, asked := range question.FindAllIndex(text, -1) {
		blank(text[asked[0]:asked[1]])
	}
	for _, one := range r.banned {
		for _, at := range one.pattern.FindAllIndex(text, -1) {
			phrase := strings.Join(strings.Fields(string(text[at[0]:at[1]])), " ")
			found = append(found, fmt.Sprintf("%s:%d: %s: %s", name, line(at[0]), phrase, one.hint))
		}
	}
	return found
}
