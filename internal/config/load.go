package config

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads a file over the defaults.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &Error{Problem: err.Error(), Advice: "runnerctl init writes one; none is needed for the defaults"}
	}
	loaded := Default()
	loaded.Dir = filepath.Dir(path)
	if err := decode(text, &loaded); err != nil {
		return Config{}, explain(path, err)
	}
	if err := loaded.Validate(); err != nil {
		var problem *Error
		if errors.As(err, &problem) {
			problem.File, problem.Line = path, lineOf(text, problem.Field)
		}
		return Config{}, err
	}
	return loaded, nil
}

// decode reads the one document of a file; there may be none.
func decode(text []byte, into *Config) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	var anything any // what yaml itself refuses: a key that is there twice, an anchor that contains itself
	if err := document.Decode(&anything); err != nil {
		return err
	}
	if err := check(document.Content[0], reflect.TypeFor[Config](), ""); err != nil {
		return err
	}
	if err := document.Decode(into); err != nil {
		return err
	}
	if err := decoder.Decode(&second); err == nil {
		return &Error{Line: second.Line, Problem: "a second document: expected one"}
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// explain adds file and line.
func explain(path string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		own.File = path
		return own
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if parts := atLine.FindStringSubmatch(text); parts != nil {
		return &Error{File: path, Line: number(parts[1]), Problem: parts[2]}
	}
	return &Error{File: path, Problem: text}
}

var atLine = regexp.MustCompile(`line (\d+): (.*)`)

func number(text string) int {
	n, _ := strconv.Atoi(text) // digits by the pattern
	return n
}

// lineOf finds where a field like "runners.count" stands; 0 where it does not.
func lineOf(text []byte, field string) int {
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) == 0 {
		return 0
	}
	node, line := document.Content[0], 0
	for _, key := range strings.Split(field, ".") {
		var next *yaml.Node
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				next, line = node.Content[i+1], node.Content[i].Line
			}
		}
		if next == nil {
			return line
		}
		node = next
	}
	return line
}

// Nearest is the known word at the smallest edit distance, if that is small;
// words that share no letter are not near.
func Nearest(word string, known []string) string {
	best, limit := "", min(3, len(word))
	for _, candidate := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(candidate)); d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
