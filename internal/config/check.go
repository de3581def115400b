package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/runnerctl/runnerctl/internal/spelling"
)

// check finds the first place in a document that can't be decoded into the type. It precedes
// yaml's own decoding, whose messages name Go's types, and which accepts 2.5 as a whole
// number. path is the node's path, like "runners.count"; "" for the whole document.
func check(node *yaml.Node, into reflect.Type, path string) error {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	for into.Kind() == reflect.Pointer {
		into = into.Elem()
	}
	wanted, fits := expected(into), false
	switch tag := node.ShortTag(); {
	case tag == "!!null": // no value is given
		return nil
	case into == reflect.TypeFor[Cache]() && node.Kind == yaml.ScalarNode:
		fits = node.Value == off
	case into == reflect.TypeFor[Cache](): // it reads itself, but its keys are checked
		if fits = node.Kind == yaml.MappingNode; fits {
			return checkSection(node, into, path)
		}
	case reflect.PointerTo(into).Implements(reflect.TypeFor[yaml.Unmarshaler]()), into.Kind() == reflect.String:
		fits = node.Kind == yaml.ScalarNode
	case into.Kind() == reflect.Struct:
		if fits = node.Kind == yaml.MappingNode; fits {
			return checkSection(node, into, path)
		}
	case into == reflect.TypeFor[Dockerd](): // any keys
		fits = node.Kind == yaml.MappingNode
	case into.Kind() == reflect.Map:
		if fits = node.Kind == yaml.MappingNode; fits {
			return checkMap(node, into.Elem(), path)
		}
	case into.Kind() == reflect.Slice:
		if fits = node.Kind == yaml.SequenceNode; fits {
			return checkList(node, into.Elem(), path)
		}
	case into.Kind() == reflect.Bool:
		fits = tag == "!!bool"
	case into.Kind() == reflect.Float64:
		fits = tag == "!!float" || tag == "!!int"
	default:
		fits = tag == "!!int"
	}
	if fits {
		return nil
	}
	return &Error{Line: node.Line, Field: path, Problem: fmt.Sprintf("%s: expected %s", written(node), wanted)}
}

func checkSection(node *yaml.Node, into reflect.Type, path string) error {
	fields := map[string]reflect.Type{}
	var known []string
	for i := range into.NumField() {
		if key := into.Field(i).Tag.Get("yaml"); key != "-" {
			fields[key] = into.Field(i).Type
			known = append(known, key)
		}
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.ShortTag() == "!!merge" {
			if err := checkMerged(value, into, path); err != nil {
				return err
			}
			continue
		}
		field, ok := fields[key.Value]
		if !ok {
			return unknown(key, known, path)
		}
		if err := check(value, field, join(path, key.Value)); err != nil {
			return err
		}
	}
	return nil
}

// checkMap checks a map whose names the user chooses, each with a value.
func checkMap(node *yaml.Node, of reflect.Type, path string) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if err := check(node.Content[i+1], of, join(path, node.Content[i].Value)); err != nil {
			return err
		}
	}
	return nil
}

// checkMerged checks the value of "<<": a section, or a list of sections.
func checkMerged(node *yaml.Node, into reflect.Type, path string) error {
	if node.Kind == yaml.SequenceNode {
		return checkList(node, into, path)
	}
	return check(node, into, path)
}

func checkList(node *yaml.Node, of reflect.Type, path string) error {
	for _, one := range node.Content {
		if err := check(one, of, path); err != nil {
			return err
		}
	}
	return nil
}

func unknown(key *yaml.Node, known []string, path string) error {
	problem := &Error{Line: key.Line, Problem: fmt.Sprintf("unknown key %q", key.Value)}
	if path != "" {
		problem.Problem += " in " + path
	}
	if near := spelling.Nearest(key.Value, known); near != "" {
		problem.Problem += fmt.Sprintf(": did you mean %q?", near)
	} else if elsewhere := places(key.Value, reflect.TypeFor[Config](), ""); len(elsewhere) > 0 {
		problem.Problem += ": did you mean " + strings.Join(elsewhere, " or ") + "?"
	}
	return problem
}

// places returns the paths that end with a key, for a message.
func places(key string, in reflect.Type, path string) (found []string) {
	for i := range in.NumField() {
		name := in.Field(i).Tag.Get("yaml")
		if name == "-" {
			continue
		}
		switch {
		case name == key && path == "":
			found = append(found, name+" at the top level")
		case name == key:
			found = append(found, join(path, name))
		}
		inner := in.Field(i).Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			found = append(found, places(key, inner, join(path, name))...)
		}
	}
	return found
}

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }

// written returns a value as it is in the file, or the kind of a section or list.
func written(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "a section of keys"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Value == "":
		return `""`
	}
	return node.Value
}

func expected(kind reflect.Type) string {
	switch {
	case kind == reflect.TypeFor[Size]():
		return "a size, like 4GiB"
	case kind == reflect.TypeFor[Duration]():
		return "a duration, like 60s"
	case kind == reflect.TypeFor[Dockerd]():
		return "a section of keys"
	case kind == reflect.TypeFor[Cache]():
		return "a section of keys, or " + off
	}
	switch kind.Kind() {
	case reflect.Struct:
		return "a section of keys"
	case reflect.Map:
		return "names, each with " + expected(kind.Elem())
	case reflect.Slice:
		return "a list of elements, each " + expected(kind.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}
