package cache

import (
	"io"
	"net/http"
	"time"
)

// patient ends a request that transfers nothing for stallLimit, so that it does not occupy an entry or an
// upload for ever. A transfer as a whole has no limit.
func patient(to http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Time{}) // of the connection's last request; a test's recorder has none
		r.Body = patientBody{r.Body, control}
		to.ServeHTTP(patientWriter{w, control}, r)
	})
}

type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b patientBody) Read(into []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(stallLimit))
	n, err := b.ReadCloser.Read(into)
	if err != nil { // else the deadline would end the answer, too
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Unwrap is for http.ResponseController.
func (p patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p patientWriter) Write(text []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(stallLimit))
	return p.ResponseWriter.Write(text)
}
