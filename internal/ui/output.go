package ui

import (
	"encoding/json"
	"io"
)

// WriteJSON prints the single document of -o json.
func WriteJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
