package ghsim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// GitHub sends a workflow to the runner in a template language: texts, lists and mappings as
// they are, and expressions marked as such. The runner evaluates them.

type mapEntry struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func expression(text string) map[string]any { return map[string]any{"type": 3, "expr": text} }

// template encodes a text of the workflow. A text that mixes text and expressions becomes a
// call of format, as GitHub makes it. check has validated all texts before, so every
// expression is closed here.
func template(text string) any {
	parts, _ := split(text)
	if !slices.ContainsFunc(parts, func(p part) bool { return p.expression }) {
		return text
	}
	if len(parts) == 1 {
		return expression(parts[0].text)
	}
	var format strings.Builder
	var args []string
	for _, each := range parts {
		if each.expression {
			fmt.Fprintf(&format, "{%d}", len(args))
			args = append(args, each.text)
			continue
		}
		format.WriteString(strings.NewReplacer("{", "{{", "}", "}}", "'", "''").Replace(each.text))
	}
	return expression("format('" + format.String() + "', " + strings.Join(args, ", ") + ")")
}

func mapping(values map[string]string) map[string]any {
	entries := []mapEntry{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		entries = append(entries, mapEntry{key, template(values[key])})
	}
	return map[string]any{"type": 2, "map": entries}
}

func sequence(values []string) map[string]any {
	all := []any{}
	for _, each := range values {
		all = append(all, template(each))
	}
	return map[string]any{"type": 1, "seq": all}
}

// part is a part of a text: an expression between ${{ and }}, or the text around it.
type part struct {
	text       string
	expression bool
}

// split finds the expressions of a text. A string within an expression may hold }}.
func split(text string) (parts []part, err error) {
	for {
		before, rest, found := strings.Cut(text, "${{")
		if before != "" {
			parts = append(parts, part{text: before})
		}
		if !found {
			return parts, nil
		}
		end, quoted := -1, false
		for i := range len(rest) {
			if rest[i] == '\'' {
				quoted = !quoted
			}
			if !quoted && strings.HasPrefix(rest[i:], "}}") {
				end = i
				break
			}
		}
		if end < 0 {
			return nil, fmt.Errorf("the expression is not closed by }}: %.40s", rest)
		}
		parts = append(parts, part{text: strings.TrimSpace(rest[:end]), expression: true})
		text = rest[end+2:]
	}
}

// condition returns an if as GitHub rewrites it: it holds only while no step has failed, unless
// it asks for the job's status itself.
func condition(text string) string {
	text = strings.TrimSpace(text)
	if parts, err := split(text); err == nil && len(parts) == 1 && parts[0].expression {
		text = parts[0].text
	}
	if text == "" {
		return "success()"
	}
	for _, asks := range []string{"success(", "failure(", "always(", "cancelled("} {
		if strings.Contains(text, asks) {
			return text
		}
	}
	return "success() && (" + text + ")"
}

// contextData encodes a value in the language of contexts.
func contextData(value any) any {
	switch value := value.(type) {
	case map[string]any:
		entries := []map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			entries = append(entries, map[string]any{"k": key, "v": contextData(value[key])})
		}
		return map[string]any{"t": 2, "d": entries}
	case map[string]string:
		loose := map[string]any{}
		for key, text := range value {
			loose[key] = text
		}
		return contextData(loose)
	case []any:
		all := []any{}
		for _, each := range value {
			all = append(all, contextData(each))
		}
		return map[string]any{"t": 1, "a": all}
	case int:
		return map[string]any{"t": 4, "n": value}
	case float64:
		return map[string]any{"t": 4, "n": value}
	case bool:
		return map[string]any{"t": 3, "b": value}
	case nil:
		return nil
	default:
		return value
	}
}

// shown formats a value of a matrix as GitHub does in a job's name.
func shown(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case int:
		return strconv.Itoa(value)
	default:
		return fmt.Sprint(value)
	}
}
