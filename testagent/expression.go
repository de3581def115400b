package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rhysd/actionlint"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// expressions evaluates the expressions of a workflow between ${{ and }}. Values are nil,
// bool, float64, string, []any and map[string]any. Names are compared without case.
type expressions struct {
	contexts map[string]any
	status   string // of the job: succeeded, failed or cancelled
}

// token evaluates a value of the template language.
func (e expressions) token(token *protocol.TemplateToken) (any, error) {
	switch {
	case token == nil:
		return nil, nil
	case token.Expr != nil:
		return e.evaluate(*token.Expr)
	case token.Lit != nil:
		return *token.Lit, nil
	case token.Num != nil:
		return *token.Num, nil
	case token.Bool != nil:
		return *token.Bool, nil
	case token.Seq != nil:
		all := []any{}
		for _, each := range *token.Seq {
			value, err := e.token(each)
			if err != nil {
				return nil, err
			}
			all = append(all, value)
		}
		return all, nil
	case token.Map != nil:
		all := map[string]any{}
		for _, entry := range *token.Map {
			key, err := e.token(entry.Key)
			if err != nil {
				return nil, err
			}
			if all[textOf(key)], err = e.token(entry.Value); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return nil, nil
}

// texts evaluates a mapping with texts as values.
func (e expressions) texts(token *protocol.TemplateToken) (map[string]string, error) {
	value, err := e.token(token)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	members, _ := value.(map[string]any)
	for key, each := range members {
		found[key] = textOf(each)
	}
	return found, nil
}

// holds evaluates a condition.
func (e expressions) holds(condition string) (bool, error) {
	value, err := e.evaluate(condition)
	return truth(value), err
}

func (e expressions) evaluate(text string) (any, error) {
	node, problem := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(text + "}}"))
	if problem != nil {
		return nil, fmt.Errorf("The expression is not valid: %s: %s", text, problem.Message) //nolint:staticcheck // as GitHub's words
	}
	return e.value(node)
}

func (e expressions) value(node actionlint.ExprNode) (any, error) {
	switch node := node.(type) {
	case *actionlint.NullNode:
		return nil, nil
	case *actionlint.BoolNode:
		return node.Value, nil
	case *actionlint.IntNode:
		return float64(node.Value), nil
	case *actionlint.FloatNode:
		return node.Value, nil
	case *actionlint.StringNode:
		return node.Value, nil
	case *actionlint.VariableNode:
		if value, known := member(e.contexts, node.Name); known {
			return value, nil
		}
		return nil, fmt.Errorf("Unrecognized named-value: '%s'", node.Name) //nolint:staticcheck // GitHub's words
	case *actionlint.ObjectDerefNode:
		receiver, err := e.value(node.Receiver)
		if err != nil {
			return nil, err
		}
		return index(receiver, node.Property), nil
	case *actionlint.ArrayDerefNode:
		receiver, err := e.value(node.Receiver)
		return filtered(members(receiver)), err
	case *actionlint.IndexAccessNode:
		operand, err := e.value(node.Operand)
		if err != nil {
			return nil, err
		}
		at, err := e.value(node.Index)
		return index(operand, at), err
	case *actionlint.NotOpNode:
		value, err := e.value(node.Operand)
		return !truth(value), err
	case *actionlint.LogicalOpNode:
		left, err := e.value(node.Left)
		if err != nil || truth(left) == (node.Kind == actionlint.LogicalOpNodeKindOr) {
			return left, err
		}
		return e.value(node.Right)
	case *actionlint.CompareOpNode:
		left, err := e.value(node.Left)
		if err != nil {
			return nil, err
		}
		right, err := e.value(node.Right)
		return compare(node.Kind, left, right), err
	case *actionlint.FuncCallNode:
		var args []any
		for _, each := range node.Args {
			arg, err := e.value(each)
			if err != nil {
				return nil, err
			}
			args = append(args, arg)
		}
		return e.call(node.Callee, args)
	}
	return nil, fmt.Errorf("the expression %T is not known to this agent", node)
}

// filtered is the result of .*: operations on it apply to each member.
type filtered []any

func members(value any) []any {
	switch value := value.(type) {
	case []any:
		return value
	case filtered:
		return value
	case map[string]any:
		var all []any
		for _, key := range slices.Sorted(maps.Keys(value)) {
			all = append(all, value[key])
		}
		return all
	}
	return nil
}

func member(of map[string]any, name string) (any, bool) {
	if value, found := of[name]; found {
		return value, true
	}
	for key, value := range of {
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return nil, false
}

// index returns nil for a missing member, as GitHub does.
func index(of, at any) any {
	switch of := of.(type) {
	case map[string]any:
		value, _ := member(of, textOf(at))
		return value
	case []any:
		if number := numberOf(at); number >= 0 && int(number) < len(of) {
			return of[int(number)]
		}
	case filtered:
		all := filtered{}
		for _, each := range of {
			if value := index(each, at); value != nil {
				all = append(all, value)
			}
		}
		return all
	}
	return nil
}

func truth(value any) bool {
	switch value := value.(type) {
	case nil:
		return false
	case bool:
		return value
	case float64:
		return value != 0 && !math.IsNaN(value)
	case string:
		return value != ""
	}
	return true
}

func textOf(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case bool:
		return strconv.FormatBool(value)
	case float64:
		return strconv.FormatFloat(value, 'G', 15, 64)
	case string:
		return value
	case map[string]any:
		return "Object"
	}
	return "Array"
}

func numberOf(value any) float64 {
	switch value := value.(type) {
	case nil:
		return 0
	case bool:
		if value {
			return 1
		}
		return 0
	case float64:
		return value
	case string:
		if value = strings.TrimSpace(value); value == "" {
			return 0
		}
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			return number
		}
		if number, err := strconv.ParseInt(value, 0, 64); err == nil {
			return float64(number)
		}
	}
	return math.NaN()
}

// compare follows GitHub: it ignores the case of texts, and compares different types as
// numbers.
func compare(kind actionlint.CompareOpNodeKind, left, right any) bool {
	var order int
	equal := false
	leftText, isText := left.(string)
	rightText, areTexts := right.(string)
	switch {
	case isText && areTexts:
		order = strings.Compare(strings.ToUpper(leftText), strings.ToUpper(rightText))
		equal = order == 0
	default:
		l, r := numberOf(left), numberOf(right)
		if math.IsNaN(l) || math.IsNaN(r) {
			return kind == actionlint.CompareOpNodeKindNotEq
		}
		equal = l == r
		if l < r {
			order = -1
		} else if l > r {
			order = 1
		}
	}
	switch kind {
	case actionlint.CompareOpNodeKindEq:
		return equal
	case actionlint.CompareOpNodeKindNotEq:
		return !equal
	case actionlint.CompareOpNodeKindLess:
		return order < 0
	case actionlint.CompareOpNodeKindLessEq:
		return order <= 0
	case actionlint.CompareOpNodeKindGreater:
		return order > 0
	default:
		return order >= 0
	}
}

// call does not check the number of arguments, because GitHub has checked it.
func (e expressions) call(name string, args []any) (any, error) {
	arg := func(i int) any {
		if i < len(args) {
			return args[i]
		}
		return nil
	}
	upper := func(i int) string { return strings.ToUpper(textOf(arg(i))) }
	switch strings.ToLower(name) {
	case "always":
		return true, nil
	case "success":
		return e.status == succeeded, nil
	case "failure":
		return e.status == failed, nil
	case "cancelled":
		return e.status == cancelled, nil
	case "contains":
		if all := members(arg(0)); all != nil {
			return slices.ContainsFunc(all, func(each any) bool { return compare(actionlint.CompareOpNodeKindEq, each, arg(1)) }), nil
		}
		return strings.Contains(upper(0), upper(1)), nil
	case "startswith":
		return strings.HasPrefix(upper(0), upper(1)), nil
	case "endswith":
		return strings.HasSuffix(upper(0), upper(1)), nil
	case "format":
		return format(textOf(arg(0)), args[1:])
	case "join":
		separator := ","
		if len(args) > 1 {
			separator = textOf(arg(1))
		}
		all := members(arg(0))
		if all == nil {
			return textOf(arg(0)), nil
		}
		var texts []string
		for _, each := range all {
			texts = append(texts, textOf(each))
		}
		return strings.Join(texts, separator), nil
	case "tojson":
		encoded, err := json.MarshalIndent(arg(0), "", "  ")
		return string(encoded), err
	case "fromjson":
		var value any
		if err := json.Unmarshal([]byte(textOf(arg(0))), &value); err != nil {
			return nil, fmt.Errorf("fromJSON: %w", err)
		}
		return value, nil
	}
	return nil, fmt.Errorf("the function %s is not known to this agent", name)
}

// format replaces {0}, {1}, … by args; {{ and }} stand for braces.
func format(text string, args []any) (string, error) {
	var made strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "{{"), strings.HasPrefix(text[i:], "}}"):
			made.WriteByte(text[i])
			i++
		case text[i] == '{':
			digits, _, closed := strings.Cut(text[i+1:], "}")
			at, err := strconv.Atoi(digits)
			if !closed || err != nil || at < 0 || at >= len(args) {
				return "", fmt.Errorf("The following format string is invalid: %s", text) //nolint:staticcheck // GitHub's words
			}
			made.WriteString(textOf(args[at]))
			i += len(digits) + 1
		case text[i] == '}':
			return "", errors.New("The following format string is invalid: " + text) //nolint:staticcheck // GitHub's words
		default:
			made.WriteByte(text[i])
		}
	}
	return made.String(), nil
}
