package config

import (
	"bytes"
	"errors"
	"fmt"
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
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&loaded); err != nil && !errors.Is(err, io.EOF) {
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

var (
	unknownKey = regexp.MustCompile(`line (\d+): field (\S+) not found in type (\S+)`)
	wrongType  = regexp.MustCompile(`line (\d+): cannot unmarshal \S+ (.+) into (\S+)`)
	anyLine    = regexp.MustCompile(`line (\d+): (.*)`)
)

// explain turns yaml's words into ours: file, line, what was expected.
func explain(path string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		own.File = path
		return own
	}
	text := err.Error()
	if parts := unknownKey.FindStringSubmatch(text); parts != nil {
		problem := &Error{File: path, Line: number(parts[1]), Problem: fmt.Sprintf("unknown key %q", parts[2])}
		if near := Nearest(parts[2], keys(reflect.TypeFor[Config]())); near != "" {
			problem.Problem += fmt.Sprintf(": did you mean %q?", near)
		}
		return problem
	}
	if parts := wrongType.FindStringSubmatch(text); parts != nil {
		kinds := map[string]string{"int": "a whole number", "int64": "a whole number", "float64": "a number", "bool": "true or false", "string": "a text", "[]string": "a list of texts"}
		kind := kinds[parts[3]]
		if kind == "" {
			kind = "a section of keys"
		}
		return &Error{File: path, Line: number(parts[1]), Problem: fmt.Sprintf("%s: expected %s", strings.Trim(parts[2], "`"), kind)}
	}
	if parts := anyLine.FindStringSubmatch(text); parts != nil {
		return &Error{File: path, Line: number(parts[1]), Problem: parts[2]}
	}
	return &Error{File: path, Problem: text}
}

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

func keys(t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		field := t.Field(i)
		if tag := field.Tag.Get("yaml"); tag != "-" {
			all = append(all, tag)
		}
		switch inner := field.Type; {
		case inner.Kind() == reflect.Struct:
			all = append(all, keys(inner)...)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			all = append(all, keys(inner.Elem())...)
		}
	}
	return all
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
