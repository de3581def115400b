package ghsim

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const blobLimit = 64 << 20

// blob is a file of a job, in place of one in cloud storage.
type blob struct {
	id, signature string
	appending     bool
	sealed        bool
	blocks        map[string][]byte // staged, not yet part of the content
	content       bytes.Buffer
}

func (b *blob) text() string {
	if b == nil {
		return ""
	}
	return b.content.String()
}

// newBlob makes a blob. Its signed URL is the only way to access it. The caller must hold
// s.mu.
func (s *Server) newBlob() *blob {
	made := &blob{id: rand.Text(), signature: rand.Text(), blocks: map[string][]byte{}}
	s.blobs[made.id] = made
	return made
}

func (s *Server) signedURL(b *blob) string {
	return s.RunnerURL + "/blobs/" + b.id + "?sig=" + b.signature
}

// signed finds the blob that a request names with a valid signature. Otherwise it answers the
// request and returns nil. The caller must hold s.mu.
func (s *Server) signed(w http.ResponseWriter, r *http.Request) *blob {
	b := s.blobs[r.PathValue("id")]
	switch {
	case b == nil:
		w.WriteHeader(http.StatusNotFound)
		return nil
	case subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("sig")), []byte(b.signature)) != 1:
		w.WriteHeader(http.StatusForbidden)
		return nil
	}
	return b
}

// putBlob stores a whole blob. It also makes, extends and seals append blobs, and takes blocks
// and the list of blocks that make up a blob.
func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, blobLimit))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.signed(w, r)
	if b == nil {
		return
	}
	query, kind := r.URL.Query(), r.Header.Get("x-ms-blob-type")
	switch comp := query.Get("comp"); {
	case comp == "" && kind == "AppendBlob":
		b.appending, b.sealed = true, false
		b.content.Reset()
	case comp == "" && kind == "BlockBlob":
		b.content.Reset()
		b.content.Write(content)
	case comp == "block" && query.Get("blockid") != "":
		b.blocks[query.Get("blockid")] = content
	case comp == "blocklist":
		if !b.commit(content) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	case comp != "appendblock":
		refuse(w, r, http.StatusBadRequest, "a blob of type "+strconv.Quote(kind)+" with comp="+comp)
		return
	case !b.appending:
		w.WriteHeader(http.StatusNotFound)
		return
	case b.sealed:
		w.WriteHeader(http.StatusConflict)
		return
	default:
		b.content.Write(content)
		b.sealed = query.Get("seal") == "true"
	}
	w.WriteHeader(http.StatusCreated)
}

// commit makes the blob from staged blocks. It returns false if a block was never sent.
func (b *blob) commit(list []byte) bool {
	var asked struct {
		XMLName xml.Name `xml:"BlockList"`
		Latest  []string `xml:"Latest"`
	}
	if xml.Unmarshal(list, &asked) != nil {
		return false
	}
	b.content.Reset()
	for _, id := range asked.Latest {
		block, sent := b.blocks[strings.TrimSpace(id)]
		if !sent {
			return false
		}
		b.content.Write(block)
	}
	b.blocks = map[string][]byte{}
	return true
}

func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.signed(w, r); b != nil {
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Length", strconv.Itoa(b.content.Len()))
		_, _ = w.Write(b.content.Bytes()) // the client may be gone
	}
}
