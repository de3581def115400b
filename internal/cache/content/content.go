// Package content answers requests for a content of known size, or a range of it. It is for content
// whose bytes are checked on their way, which http.ServeContent would read in small pieces.
package content

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Serve answers GET and HEAD. Copy writes the bytes from one position up to another. If it fails
// before the first byte, began is false and the caller answers the error; otherwise the caller must
// break the connection, so that the client notices the missing rest.
func Serve(w http.ResponseWriter, r *http.Request, size int64, copy func(to io.Writer, from, until int64) error) (sent int64, began bool, err error) {
	from, until, partial := span(r.Header.Get("Range"), size)
	w.Header().Set("Accept-Ranges", "bytes")
	if from > until {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return 0, true, nil
	}
	out := &begun{ResponseWriter: w, status: http.StatusOK}
	w.Header().Set("Content-Length", strconv.FormatInt(until-from, 10))
	if partial {
		out.status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, until-1, size))
	}
	if r.Method == http.MethodHead || from == until {
		w.WriteHeader(out.status)
		return 0, true, nil
	}
	err = copy(out, from, until)
	if err != nil && !out.began {
		for _, name := range []string{"Accept-Ranges", "Content-Length", "Content-Range"} {
			w.Header().Del(name)
		}
	}
	return out.sent, out.began, err
}

// span parses a range of the form bytes=FROM-[TO]. Any other is ignored, as RFC 9110 permits. A
// range behind the end has from > until.
func span(header string, size int64) (from, until int64, partial bool) {
	bounds, inBytes := strings.CutPrefix(header, "bytes=")
	first, last, found := strings.Cut(bounds, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if !inBytes || !found || err != nil || from < 0 {
		return 0, size, false
	}
	until = size
	if last != "" {
		end, err := strconv.ParseInt(last, 10, 64)
		if err != nil || end < from {
			return 0, size, false
		}
		until = min(size, end+1)
	}
	if from >= size {
		return 1, 0, true
	}
	return from, until, true
}

// begun writes the status with the first byte.
type begun struct {
	http.ResponseWriter
	status int
	began  bool
	sent   int64
}

func (b *begun) Write(text []byte) (int, error) {
	if !b.began {
		b.began = true
		b.WriteHeader(b.status)
	}
	n, err := b.ResponseWriter.Write(text)
	b.sent += int64(n)
	return n, err
}
