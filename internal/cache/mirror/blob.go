package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache/content"
	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
)

const (
	downloadLimit = time.Hour
	silenceLimit  = 30 * time.Second // of a registry in the middle of a blob; clients ask it themselves then
	buffered      = 256 << 10        // bytes
)

// blob serves a blob: from the store, or while it is downloaded.
func (m *Mirror) blob(w http.ResponseWriter, r *http.Request, from image, digest string) {
	for !m.kept(w, r, from, digest) {
		if r.Method == http.MethodHead {
			m.headOf(w, r, from, digest)
			return
		}
		one, found := m.downloadOf(from, digest)
		if !found {
			continue // it has just ended
		}
		m.follow(w, r, from, digest, one)
		return
	}
}

func describe(w http.ResponseWriter, digest string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Etag", `"`+digest+`"`)
}

// kept serves a blob from the store, if it is there.
func (m *Mirror) kept(w http.ResponseWriter, r *http.Request, from image, digest string) bool {
	entry, found := m.find(owner(from.registry), digest)
	if !found {
		return false
	}
	reader, err := m.Store.Reader(entry.ID)
	if err != nil {
		return false
	}
	defer func() { _ = reader.Close() }() // files that a later start removes
	describe(w, digest)
	sent, began, err := content.Serve(w, r, reader.Size, reader.Copy)
	m.Counts.Add(counts.Runner(r), func(c *counts.Count) { c.ImageBytes += sent })
	if err != nil {
		m.warn(from, digest, err)
		if began {
			panic(http.ErrAbortHandler) // the client notices that the rest is missing
		}
		return false // damaged: it is downloaded again
	}
	return true
}

func (m *Mirror) warn(from image, digest string, err error) {
	m.Log.Warn("mirror", "registry", from.registry, "repository", from.repository, "blob", digest, "error", err)
}

// headOf answers HEAD for a blob that is not in the store.
func (m *Mirror) headOf(w http.ResponseWriter, r *http.Request, from image, digest string) {
	answer, err := m.ask(r.Context(), from, http.MethodHead, "blobs/"+digest, "")
	if err != nil {
		m.fail(w, from, err)
		return
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		m.fail(w, from, statusError(answer.StatusCode))
		return
	}
	describe(w, digest)
	w.Header().Set("Content-Length", strconv.FormatInt(answer.ContentLength, 10))
}

// follow serves a blob while it is downloaded.
func (m *Mirror) follow(w http.ResponseWriter, r *http.Request, from image, digest string, one *download) {
	defer one.leave()
	size, err := one.begin(r.Context())
	if err != nil {
		m.fail(w, from, err)
		return
	}
	describe(w, digest)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	sent, err := one.copy(r.Context(), w)
	m.Counts.Add(counts.Runner(r), func(c *counts.Count) { c.ImageBytes += sent })
	if err != nil {
		m.warn(from, digest, err)
		panic(http.ErrAbortHandler) // the client notices that the rest is missing
	}
}

// download is one download of a blob for all its clients.
type download struct {
	mutex     sync.Mutex
	changed   *sync.Cond
	begun     bool
	size      int64
	file      io.ReaderAt // until the end
	written   int64
	ended     bool
	failed    error
	kept      *store.Reader // after a good end
	followers int
}

// downloadOf returns the running download of a blob, or begins one. It goes on without its clients,
// because others will want the blob too. found is false if the blob is in the store now.
func (m *Mirror) downloadOf(from image, digest string) (one *download, found bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	key := from.registry + " " + digest
	one = m.downloads[key]
	if one == nil {
		if _, kept := m.find(owner(from.registry), digest); kept {
			return nil, false
		}
		if m.downloads == nil {
			m.downloads = map[string]*download{}
		}
		one = &download{followers: 1} // the download itself
		one.changed = sync.NewCond(&one.mutex)
		m.downloads[key] = one
		go func() {
			kept, err := m.fetch(from, digest, one)
			m.mutex.Lock()
			delete(m.downloads, key)
			m.mutex.Unlock()
			one.end(kept, err)
			one.leave()
		}()
	}
	one.mutex.Lock()
	defer one.mutex.Unlock()
	one.followers++
	return one, true
}

// fetch downloads a blob into the store.
func (m *Mirror) fetch(from image, digest string, one *download) (kept *store.Reader, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), downloadLimit)
	defer cancel()
	answer, err := m.ask(ctx, from, http.MethodGet, "blobs/"+digest, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	size := answer.ContentLength
	switch {
	case answer.StatusCode != http.StatusOK:
		return nil, statusError(answer.StatusCode)
	case size < 0:
		return nil, errors.New("the registry does not give the size of the blob")
	case !m.Store.Fits(size):
		return nil, store.ErrNoRoom
	}
	as := owner(from.registry)
	as.Job += " " + digest
	id, err := m.Store.Reserve(as, digest, version)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Store.Discard(id)) }()
	one.grow(size, nil, 0)
	sum := sha256.New()
	heard := whenSilent(cancel)
	defer heard.Stop()
	body := io.TeeReader(io.LimitReader(answer.Body, size+1), io.MultiWriter(sum, heard))
	err = m.Store.PutWatched(id, "", body, func(file io.ReaderAt, written int64) { one.grow(size, file, written) })
	m.Counts.Add("", func(c *counts.Count) { c.DownloadedBytes += one.soFar() })
	if err != nil {
		return nil, err
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != digest {
		return nil, errDigest
	}
	if err := m.Store.Commit(id, []string{""}); err != nil {
		return nil, err
	}
	entry, err := m.Store.Finalize(as, digest, version, size)
	if err != nil {
		return nil, err
	}
	return m.Store.Reader(entry.ID)
}

// silence is a timer that each write restarts.
type silence struct{ *time.Timer }

// whenSilent calls a function once nothing was written for silenceLimit.
func whenSilent(call func()) silence { return silence{time.AfterFunc(silenceLimit, call)} }

func (s silence) Write(text []byte) (int, error) {
	s.Reset(silenceLimit)
	return len(text), nil
}

// grow notes how many bytes can be read.
func (d *download) grow(size int64, file io.ReaderAt, written int64) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.begun, d.size, d.file, d.written = true, size, file, written
	d.changed.Broadcast()
}

// soFar returns the number of bytes that were downloaded.
func (d *download) soFar() int64 {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.written
}

func (d *download) end(kept *store.Reader, err error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.ended, d.failed, d.kept = true, err, kept
	d.changed.Broadcast()
}

// leave ends a follower. The last one closes the entry.
func (d *download) leave() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.followers--
	if d.followers == 0 && d.kept != nil {
		_ = d.kept.Close() // files that a later start removes
	}
}

// begin waits until the registry has answered, and returns the blob's size.
func (d *download) begin(ctx context.Context) (size int64, err error) {
	defer d.wake(ctx)()
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for !d.begun && !d.ended && ctx.Err() == nil {
		d.changed.Wait()
	}
	if !d.begun {
		return 0, errors.Join(d.failed, ctx.Err())
	}
	return d.size, nil
}

// wake ends waits on the download when ctx ends.
func (d *download) wake(ctx context.Context) (stop func()) {
	after := context.AfterFunc(ctx, func() {
		d.mutex.Lock()
		defer d.mutex.Unlock()
		d.changed.Broadcast()
	})
	return func() { after() }
}

// copy writes the blob as it grows, and returns the number of bytes. The last byte waits for the digest
// of the whole.
func (d *download) copy(ctx context.Context, to io.Writer) (done int64, err error) {
	defer d.wake(ctx)()
	buffer := make([]byte, buffered)
	for {
		file, until, kept, err := d.more(ctx, done)
		switch {
		case err != nil:
			return done, err
		case kept != nil:
			return d.size, kept.Copy(to, done, d.size)
		}
		n, err := file.ReadAt(buffer[:min(until-done, buffered)], done)
		if errors.Is(err, os.ErrClosed) {
			d.closed()
			continue
		}
		if err != nil {
			return done, err
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return done, err
		}
		done += int64(n)
	}
}

// more waits for more than so many bytes, or for the end.
func (d *download) more(ctx context.Context, done int64) (file io.ReaderAt, until int64, kept *store.Reader, err error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for !d.ended && (d.file == nil || min(d.written, d.size-1) <= done) && ctx.Err() == nil {
		d.changed.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return nil, 0, nil, ctx.Err()
	case d.failed != nil:
		return nil, 0, nil, fmt.Errorf("download: %w", d.failed)
	case d.ended:
		return nil, 0, d.kept, nil
	}
	return d.file, min(d.written, d.size-1), nil, nil
}

// closed notes that the writer closed the file: the download ends soon.
func (d *download) closed() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.file = nil
}
