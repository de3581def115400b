package ui

import (
	"encoding/json"
	"io"
	"sync"
)

// WriteJSON prints the single document of -o json.
func WriteJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// Output remembers a failed write, for example to a file on a full disk: the code that prints
// a table checks no errors.
type Output struct {
	io.Writer
	mu  sync.Mutex
	err error
}

func (o *Output) Write(data []byte) (int, error) {
	n, err := o.Writer.Write(data)
	if err != nil {
		o.mu.Lock()
		if o.err == nil {
			o.err = err
		}
		o.mu.Unlock()
	}
	return n, err
}

// Err returns the error of the first write that failed.
func (o *Output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Fd returns the descriptor of the terminal, to ask for its width, or the highest uintptr if
// there is no terminal.
func (o *Output) Fd() uintptr {
	if file, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return file.Fd()
	}
	return ^uintptr(0)
}
