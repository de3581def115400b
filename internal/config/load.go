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

// Load reads a file. The defaults hold for settings that it leaves out.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &Error{Problem: err.Error(), Err: ErrUnread}
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

// decode reads the only document of a file, which may be empty.
func decode(text []byte, into *Config) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	var anything any // yaml itself refuses duplicate keys, and anchors that contain themselves
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

// explain adds the file and the line to an error.
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
	n, _ := strconv.Atoi(text) // the pattern matches digits only
	return n
}

// lineOf returns the line of a field like "runners.count". If the file does not have the
// field, it is the line of its section; 0 if that is missing too.
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
