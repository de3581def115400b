//go:build linux && (cache || long)

package cache

import "fmt"

// figure adds a measured figure to the line at the end.
func figure(format string, values ...any) { figures = append(figures, fmt.Sprintf(format, values...)) }
