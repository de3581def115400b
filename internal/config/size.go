package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written like "4GiB". Units are binary, as in docker.
type Size int64

var sizePattern = regexp.MustCompile(`(?i)^([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?$`)

// ParseSize reads 4GiB, 4g, 512M or 1073741824.
func ParseSize(text string) (Size, error) {
	parts := sizePattern.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return 0, fmt.Errorf("%q is not a size, expected a value like 4GiB or 512m", text)
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", text, err)
	}
	shift := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[strings.ToLower(parts[2])]
	bytes := number * math.Pow(2, float64(shift))
	if bytes > 1<<60 {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return Size(bytes), nil
}

func (s Size) String() string {
	for _, unit := range []struct {
		shift int
		name  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if s != 0 && s%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d%s", s>>unit.shift, unit.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(node *yaml.Node) error {
	value, err := ParseSize(node.Value)
	if err != nil {
		return &Error{Line: node.Line, Problem: err.Error()}
	}
	*s = value
	return nil
}
