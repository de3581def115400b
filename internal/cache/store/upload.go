package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache/durable"
)

// chunk is the unit in which blocks are written, checked and read, in bytes.
const chunk = 128 << 10

// mostBlocks is Azure's limit.
const mostBlocks = 50_000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// block is a file of an entry. Sums are the CRC-32C of its chunks, against faults of the disk: no
// byte that fails its check is ever served.
type block struct {
	File string   `json:"file"`
	Size int64    `json:"size"`
	Sums []uint32 `json:"sums"`
}

// upload is an unfinished entry.
type upload struct {
	id      string
	owner   Owner
	place   place
	blocks  map[string]block // by the client's ID
	list    []string         // IDs of the committed blocks, in their order, each once
	size    int64            // of all blocks, committed or not
	files   int              // number of files that were begun
	writers int              // requests that write a block now
	written time.Time
	ended   bool
}

// Reserve begins an upload and returns its ID. A job has one upload for a key: another one replaces
// it, as the client's second attempt.
func (s *Store) Reserve(owner Owner, key, version string) (id string, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	at := place{owner.Repository, owner.Scope, version, key}
	if s.places[at] != nil {
		return "", fmt.Errorf("key %q: %w", key, ErrExists)
	}
	open := 0
	for _, one := range s.uploads {
		if one.owner == owner && one.place == at {
			if err := s.discard(one); err != nil {
				return "", err
			}
		} else if one.owner == owner {
			open++
		}
	}
	if open >= s.limits.Uploads {
		return "", ErrMany
	}
	one := &upload{id: newID(), owner: owner, place: at, blocks: map[string]block{}, written: s.now()}
	if err := os.Mkdir(s.uploadDir(one.id), 0o700); err != nil {
		return "", err
	}
	s.uploads[one.id] = one
	return one.id, nil
}

// Discard ends an upload. It is not an error if the upload has ended.
func (s *Store) Discard(id string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if one := s.uploads[id]; one != nil {
		return s.discard(one)
	}
	return nil
}

// Fits reports whether an entry of so many bytes can be kept at all.
func (s *Store) Fits(size int64) bool {
	return size <= s.limits.Size && (s.limits.Repository == 0 || size <= s.limits.Repository)
}

// discard ends an upload and removes its files. The caller must hold the mutex.
func (s *Store) discard(one *upload) error {
	s.end(one)
	s.used.add(one.owner.Repository, -one.size)
	one.size = 0
	return os.RemoveAll(s.uploadDir(one.id))
}

// end ends an upload for those who still write to it. The caller must hold the mutex.
func (s *Store) end(one *upload) {
	delete(s.uploads, one.id)
	one.ended = true
}

// begin registers a writer of an upload and makes a new file. The file is made with the mutex held, so
// that settle sees all files.
func (s *Store) begin(id string) (one *upload, file *os.File, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	one = s.uploads[id]
	if one == nil {
		return nil, nil, fmt.Errorf("upload %s: %w", id, ErrUnknown)
	}
	if one.files >= mostBlocks {
		return nil, nil, fmt.Errorf("more than %d blocks: %w", mostBlocks, ErrNoRoom)
	}
	one.files++
	if file, err = os.OpenFile(filepath.Join(s.uploadDir(id), strconv.Itoa(one.files)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, nil, fullDisk(err)
	}
	one.writers++
	return one, file, nil
}

// fullDisk marks an error of a full disk.
func fullDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return err
}

// grow accounts for bytes before they are written.
func (s *Store) grow(one *upload, bytes int64) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if one.ended {
		return fmt.Errorf("upload %s: %w", one.id, ErrUnknown)
	}
	if err := s.makeRoom(one.owner.Repository, bytes); err != nil {
		return err
	}
	s.resize(one, bytes)
	one.written = s.now()
	return nil
}

// resize changes the size of an upload. The caller must hold the mutex.
func (s *Store) resize(one *upload, bytes int64) {
	one.size += bytes
	s.used.add(one.owner.Repository, bytes)
}

// Put writes a block of an upload. A block with the same ID is replaced. A block that is not read to
// its end is not kept.
func (s *Store) Put(id, blockID string, from io.Reader) error {
	return s.PutWatched(id, blockID, from, func(io.ReaderAt, int64) {})
}

// PutWatched is Put for a block with readers that can't wait for its end: grown is called with the
// block's file and the number of its bytes that can be read. The file is closed when PutWatched
// returns.
func (s *Store) PutWatched(id, blockID string, from io.Reader, grown func(io.ReaderAt, int64)) (err error) {
	one, file, err := s.begin(id)
	if err != nil {
		return err
	}
	written := block{File: filepath.Base(file.Name())}
	err = s.write(one, &written, file, from, grown)

	s.mutex.Lock()
	defer s.mutex.Unlock()
	one.writers--
	if one.ended { // its files and their sizes are settled
		return fmt.Errorf("upload %s: %w", id, ErrUnknown)
	}
	if err != nil {
		s.resize(one, -written.Size)
		_ = os.Remove(file.Name())
		return err
	}
	if before, replaced := one.blocks[blockID]; replaced {
		s.resize(one, -before.Size)
		_ = os.Remove(filepath.Join(s.uploadDir(id), before.File))
	}
	one.blocks[blockID] = written
	return nil
}

// write copies a block to its file. The block's size is right even after an error.
func (s *Store) write(one *upload, to *block, file *os.File, from io.Reader, grown func(io.ReaderAt, int64)) (err error) {
	defer func() { err = errors.Join(err, file.Close()) }()
	buffer := make([]byte, chunk)
	for {
		n, err := fill(buffer, from)
		if n > 0 {
			if err := s.grow(one, int64(n)); err != nil {
				return err
			}
			to.Size += int64(n)
			to.Sums = append(to.Sums, crc32.Checksum(buffer[:n], castagnoli))
			if _, err := file.Write(buffer[:n]); err != nil {
				return fullDisk(err)
			}
			grown(file, to.Size)
		}
		switch {
		case errors.Is(err, io.EOF):
			return fullDisk(file.Sync())
		case err != nil:
			return err
		}
	}
}

// fill reads until the buffer is full. Unlike io.ReadFull, it returns the source's own error: a body
// that ends too early is io.ErrUnexpectedEOF (net/http).
func fill(buffer []byte, from io.Reader) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = from.Read(buffer[n:])
		n += more
	}
	return n, err
}

// Commit sets the order of an upload's blocks.
func (s *Store) Commit(id string, blockIDs []string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	one := s.uploads[id]
	if one == nil {
		return fmt.Errorf("upload %s: %w", id, ErrUnknown)
	}
	listed := map[string]bool{}
	for _, blockID := range blockIDs {
		if _, known := one.blocks[blockID]; !known {
			return fmt.Errorf("block %q: %w", blockID, ErrUnknown)
		}
		if listed[blockID] { // a small block could make a huge entry
			return fmt.Errorf("block %q: %w", blockID, ErrTwice)
		}
		listed[blockID] = true
	}
	one.list = slices.Clone(blockIDs)
	return nil
}

// Finalize makes an entry of a job's upload, which must have so many bytes. Of several jobs with one
// key, the first wins. The entry is durable when Finalize returns.
func (s *Store) Finalize(owner Owner, key, version string, size int64) (Entry, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	at := place{owner.Repository, owner.Scope, version, key}
	var one *upload
	for _, each := range s.uploads {
		if each.owner == owner && each.place == at {
			one = each
		}
	}
	switch {
	case one == nil:
		return Entry{}, fmt.Errorf("upload of key %q: %w", key, ErrUnknown)
	case s.places[at] != nil:
		return Entry{}, errors.Join(fmt.Errorf("key %q: %w", key, ErrExists), s.discard(one))
	}
	made := &kept{Entry: Entry{
		ID: one.id, Repository: owner.Repository, Scope: owner.Scope, Key: key, Version: version, Created: s.now(), Used: s.now(),
	}}
	for _, blockID := range one.list {
		made.Blocks = append(made.Blocks, one.blocks[blockID])
		made.Size += one.blocks[blockID].Size
	}
	if made.Size != size || len(one.list) == 0 {
		return Entry{}, fmt.Errorf("%w: %d bytes, not %d", ErrSize, made.Size, size)
	}
	if err := s.makePlace(owner.Repository); err != nil {
		return Entry{}, err
	}
	if err := s.settle(one, made); err != nil {
		return Entry{}, err
	}
	s.end(one)
	s.used.add(owner.Repository, made.Size-one.size)
	s.entries[made.ID], s.places[at] = made, made
	return made.Entry, nil
}

// settle writes an entry's file and moves its folder to the entries, durably. Files that are not part
// of it are removed, those that are being written too.
func (s *Store) settle(one *upload, made *kept) error {
	text, err := json.Marshal(made)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, each := range made.Blocks {
		listed[each.File] = true
	}
	files, err := os.ReadDir(s.uploadDir(one.id))
	if err != nil {
		return err
	}
	for _, file := range files {
		if !listed[file.Name()] {
			if err := os.Remove(filepath.Join(s.uploadDir(one.id), file.Name())); err != nil {
				return err
			}
		}
	}
	file, err := os.OpenFile(filepath.Join(s.uploadDir(one.id), entryFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := durable.SyncDir(s.uploadDir(one.id)); err != nil {
		return err
	}
	if err := os.Rename(s.uploadDir(one.id), s.entryDir(made.ID)); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Join(s.dir, entriesDir))
}
