package actions

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache/content"
	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
)

// purpose is the only use of a signed URL.
type purpose string

const (
	upload  purpose = "upload"
	restore purpose = "restore"
)

// valid is how long a request with a signed URL may begin.
var valid = map[purpose]time.Duration{upload: time.Hour, restore: 10 * time.Minute}

const (
	mostList    = 8 << 20 // bytes of a block list
	mostBlockID = 256     // characters
)

// sign returns the URL of a blob at the address that the client used. Clients mask the value of
// the parameter "sig" in a job's log.
func (s *Service) sign(host string, use purpose, id string) string {
	until := strconv.FormatInt(s.Now().Add(valid[use]).Unix(), 10)
	query := url.Values{"use": {string(use)}, "se": {until}, "sig": {s.signature(use, id, until)}}
	return (&url.URL{Scheme: "http", Host: host, Path: blobs + id, RawQuery: query.Encode()}).String()
}

func (s *Service) signature(use purpose, id, until string) string {
	mac := hmac.New(sha256.New, s.Secret)
	fmt.Fprintf(mac, "%s\n%s\n%s", use, id, until)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// allowed reports whether a URL was signed for a use of a blob and is still valid.
func (s *Service) allowed(use purpose, id string, query url.Values) bool {
	until, err := strconv.ParseInt(query.Get("se"), 10, 64)
	return err == nil && query.Get("use") == string(use) && s.Now().Unix() <= until &&
		hmac.Equal([]byte(query.Get("sig")), []byte(s.signature(use, id, query.Get("se"))))
}

// blob serves the requests for blobs, a small part of Azure's Blob service: Put Blob, Put Block, Put
// Block List and Get Blob.
func (s *Service) blob(w http.ResponseWriter, r *http.Request) {
	id, query := strings.TrimPrefix(r.URL.Path, blobs), r.URL.Query()
	switch {
	case r.Method == http.MethodPut && s.allowed(upload, id, query):
		s.put(w, r, id, query)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && s.allowed(restore, id, query):
		s.get(w, r, id)
	default:
		refuse(w, http.StatusForbidden, "permission_denied", "the URL is not valid for this request, or no longer")
	}
}

func (s *Service) put(w http.ResponseWriter, r *http.Request, id string, query url.Values) {
	var err error
	switch comp, blockID := query.Get("comp"), query.Get("blockid"); {
	case comp == "": // the whole blob
		if err = s.Store.Put(id, "", r.Body); err == nil {
			err = s.Store.Commit(id, []string{""})
		}
	case comp == "block" && blockID != "" && len(blockID) <= mostBlockID:
		err = s.Store.Put(id, blockID, r.Body)
	case comp == "blocklist":
		var ids []string
		if ids, err = readList(http.MaxBytesReader(w, r.Body, mostList)); err != nil {
			refuse(w, http.StatusBadRequest, "malformed", err.Error())
			return
		}
		err = s.Store.Commit(id, ids)
	default:
		refuse(w, http.StatusBadRequest, "invalid_argument", "unknown operation")
		return
	}
	switch {
	case errors.Is(err, store.ErrUnknown):
		refuse(w, http.StatusNotFound, "not_found", err.Error())
	case errors.Is(err, store.ErrTwice):
		refuse(w, http.StatusBadRequest, "malformed", err.Error())
	case errors.Is(err, store.ErrNoRoom):
		_ = s.Store.Discard(id) // no client continues it, and its space is needed
		drain(r.Body)
		refuse(w, http.StatusForbidden, "resource_exhausted", err.Error()) // no client repeats it
	case err != nil:
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
	default:
		w.Header().Set("X-Ms-Request-Id", rand.Text()) // BuildKit panics without it
		w.Header().Set("Etag", `"`+id+`"`)
		w.WriteHeader(http.StatusCreated)
	}
}

// readList reads a block list, in which every block is one of this upload.
func readList(body io.Reader) (ids []string, err error) {
	var list struct {
		Blocks []struct {
			ID string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.NewDecoder(body).Decode(&list); err != nil {
		return nil, fmt.Errorf("block list: %w", err)
	}
	for _, block := range list.Blocks {
		ids = append(ids, strings.TrimSpace(block.ID))
	}
	return ids, nil
}

// get serves an entry, or the rest of it from a position. A client that gets an error's text in
// place of the entry stores it as an archive, except for status 500.
func (s *Service) get(w http.ResponseWriter, r *http.Request, id string) {
	reader, err := s.Store.Reader(id)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "not_found", err.Error())
		return
	}
	defer func() { _ = reader.Close() }() // files that a later start removes
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Etag", `"`+id+`"`)
	sent, began, err := content.Serve(w, r, reader.Size, reader.Copy)
	s.Counts.Add(counts.Runner(r), func(c *counts.Count) { c.RestoredBytes += sent })
	switch {
	case err == nil:
	case began:
		panic(http.ErrAbortHandler)
	default:
		refuse(w, http.StatusInternalServerError, "data_loss", err.Error())
	}
}
