package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// Reader reads an entry, which stays until the reader is closed.
type Reader struct {
	Size  int64
	store *Store
	one   *kept
}

// Reader opens an entry.
func (s *Store) Reader(id string) (*Reader, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	one := s.entries[id]
	if one == nil {
		return nil, fmt.Errorf("entry %s: %w", id, ErrUnknown)
	}
	one.readers++
	return &Reader{Size: one.Size, store: s, one: one}, nil
}

// Close removes the files of an entry that was removed meanwhile, after its last reader.
func (r *Reader) Close() error {
	r.store.mutex.Lock()
	defer r.store.mutex.Unlock()
	r.one.readers--
	if r.one.readers == 0 && r.store.entries[r.one.ID] != r.one {
		return os.RemoveAll(r.store.entryDir(r.one.ID))
	}
	return nil
}

// Copy writes the bytes from one position up to another. Each chunk is checked before a byte of it
// is written. A damaged entry is removed.
func (r *Reader) Copy(to io.Writer, from, until int64) error {
	begin := int64(0)
	for _, each := range r.one.Blocks {
		end := begin + each.Size
		if from < end && until > begin {
			if err := r.copyBlock(to, each, max(from, begin)-begin, min(until, end)-begin); err != nil {
				return err
			}
		}
		begin = end
	}
	return nil
}

func (r *Reader) copyBlock(to io.Writer, each block, from, until int64) (err error) {
	file, err := os.Open(filepath.Join(r.store.entryDir(r.one.ID), each.File))
	if err != nil {
		return r.damaged(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffer := make([]byte, chunk)
	for number := from / chunk; number*chunk < until; number++ {
		begin := number * chunk
		part := buffer[:min(chunk, each.Size-begin)]
		if _, err := file.ReadAt(part, begin); err != nil {
			return r.damaged(err)
		}
		if crc32.Checksum(part, castagnoli) != each.Sums[number] {
			return r.damaged(nil)
		}
		if _, err := to.Write(part[max(from-begin, 0):min(until-begin, int64(len(part)))]); err != nil {
			return err
		}
	}
	return nil
}

// damaged removes the entry from the index: the next job saves it again.
func (r *Reader) damaged(cause error) error {
	r.store.mutex.Lock()
	defer r.store.mutex.Unlock()
	err := fmt.Errorf("entry %s: %w", r.one.ID, ErrDamaged)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	if r.store.entries[r.one.ID] == r.one {
		err = errors.Join(err, r.store.forget(r.one))
	}
	return err
}

// Verify reads all entries and removes the damaged ones, which it returns.
func (s *Store) Verify() (damaged []Entry, err error) {
	var failures []error
	for _, one := range s.List() {
		reader, err := s.Reader(one.ID)
		if errors.Is(err, ErrUnknown) {
			continue // removed meanwhile
		}
		if err == nil {
			err = errors.Join(reader.Copy(io.Discard, 0, reader.Size), reader.Close())
		}
		if errors.Is(err, ErrDamaged) {
			damaged = append(damaged, one)
		} else {
			failures = append(failures, err)
		}
	}
	return damaged, errors.Join(failures...)
}
