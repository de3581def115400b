package content

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestServe(t *testing.T) {
	const text = "the entry"
	fault := errors.New("fault")
	for _, test := range []struct {
		method, asked string
		failAfter     int // bytes; -1: it does not fail
		status        int
		want, content string
		length        string
		began         bool
		err           error
	}{
		{"GET", "", -1, 200, "the entry", "", "9", true, nil},
		{"GET", "bytes=4-", -1, 206, "entry", "bytes 4-8/9", "5", true, nil},
		{"GET", "bytes=0-2", -1, 206, "the", "bytes 0-2/9", "3", true, nil},
		{"GET", "bytes=4-100", -1, 206, "entry", "bytes 4-8/9", "5", true, nil},
		{"GET", "bytes=8-8", -1, 206, "y", "bytes 8-8/9", "1", true, nil},
		{"GET", "bytes=-3", -1, 200, "the entry", "", "9", true, nil},
		{"GET", "bytes=3-1", -1, 200, "the entry", "", "9", true, nil},
		{"GET", "bytes=0-1,3-4", -1, 200, "the entry", "", "9", true, nil},
		{"GET", "bytes=9-", -1, 416, "", "bytes */9", "", true, nil},
		{"GET", "bytes=9-20", -1, 416, "", "bytes */9", "", true, nil},
		{"GET", "lines=1-", -1, 200, "the entry", "", "9", true, nil},
		{"GET", "4-", -1, 200, "the entry", "", "9", true, nil},
		{"HEAD", "", -1, 200, "", "", "9", true, nil},
		{"GET", "", 0, 200, "", "", "", false, fault},
		{"GET", "bytes=4-", 2, 206, "en", "bytes 4-8/9", "5", true, fault},
	} {
		r := httptest.NewRequest(test.method, "/", http.NoBody)
		r.Header.Set("Range", test.asked)
		w := httptest.NewRecorder()
		sent, began, err := Serve(w, r, int64(len(text)), func(to io.Writer, from, until int64) error {
			part := text[from:until]
			if test.failAfter < 0 {
				_, err := io.WriteString(to, part)
				return err
			}
			if test.failAfter > 0 {
				_, _ = io.WriteString(to, part[:test.failAfter])
			}
			return fault
		})
		got := w.Result()
		if w.Body.String() != test.want || got.StatusCode != test.status || got.Header.Get("Content-Range") != test.content || got.Header.Get("Content-Length") != test.length ||
			began != test.began || !errors.Is(err, test.err) || sent != int64(len(test.want)) {
			t.Errorf("%s %q: %d %q (%d bytes), %v, began %t, %v; want %+v", test.method, test.asked, got.StatusCode, w.Body, sent, got.Header, began, err, test)
		}
	}
}
