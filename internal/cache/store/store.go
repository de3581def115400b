// Package store keeps the entries of a cache in a folder. An entry is a list of blocks, each a file
// of its own, in the order in which they are read: putting them together would copy all of them
// once more. A finished entry is durable and never changes; an upload that a restart interrupts is
// lost. It knows nothing of HTTP and of tokens.
package store

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits bound a store. Sizes are in bytes.
type Limits struct {
	Size       int64         // of all entries and uploads
	Repository int64         // of the entries and uploads of one repository
	Entries    int           // of one repository; 0: any number
	Age        time.Duration // since the last use of an entry
	Idle       time.Duration // since the last write of an upload
	Uploads    int           // unfinished ones of one job
}

// Errors of a store.
var (
	ErrExists  = errors.New("there is an entry with this key")
	ErrUnknown = errors.New("there is no such entry or upload")
	ErrNoRoom  = errors.New("it does not fit into the cache")
	ErrMany    = errors.New("the job has too many unfinished uploads")
	ErrDamaged = errors.New("a file of the entry has changed or is missing")
	ErrSize    = errors.New("the upload has another size")
	ErrTwice   = errors.New("it is listed twice")
)

// Owner is a job with the scope that it writes to.
type Owner struct{ Repository, Scope, Job string }

// Entry is a finished entry.
type Entry struct {
	ID         string    `json:"id"` // a decimal number
	Repository string    `json:"repository"`
	Scope      string    `json:"scope"`
	Key        string    `json:"key"`
	Version    string    `json:"version"`
	Size       int64     `json:"size"` // bytes
	Created    time.Time `json:"created"`
	Used       time.Time `json:"used"` // time of the last hit
	Hits       int       `json:"hits"`
}

// place identifies an entry within the store.
type place struct{ repository, scope, version, key string }

func (e Entry) place() place { return place{e.Repository, e.Scope, e.Version, e.Key} }

// kept is an entry with its blocks. It is also the content of the entry's file.
type kept struct {
	Entry
	Blocks []block `json:"blocks"`

	readers int // an entry is not removed while it is read
}

// Store is a folder of entries.
type Store struct {
	dir    string
	limits Limits
	now    func() time.Time

	mutex   sync.Mutex
	used    space
	entries map[string]*kept   // by ID
	places  map[place]*kept    // the same
	uploads map[string]*upload // by ID
}

// space is the space of all entries and uploads, in bytes.
type space struct {
	all int64
	own map[string]int64 // by repository
}

func (u *space) add(repository string, bytes int64) {
	u.all += bytes
	if u.own[repository] += bytes; u.own[repository] == 0 {
		delete(u.own, repository)
	}
}

// Folders and files of a store.
const (
	entriesDir = "entries"
	uploadsDir = "uploads"
	entryFile  = "entry.json" // is written once, durably
	useFile    = "use.json"   // is replaced at each use, and not needed
)

// use is the content of an entry's useFile.
type use struct {
	Used time.Time `json:"used"`
	Hits int       `json:"hits"`
}

// Open opens the store in a folder, which it creates, and removes uploads that a crash interrupted.
// An entry whose file can't be read is removed.
func Open(dir string, limits Limits, now func() time.Time) (*Store, error) {
	s := &Store{
		dir: dir, limits: limits, now: now, used: space{own: map[string]int64{}},
		entries: map[string]*kept{}, places: map[place]*kept{}, uploads: map[string]*upload{},
	}
	if err := os.RemoveAll(filepath.Join(dir, uploadsDir)); err != nil {
		return nil, err
	}
	for _, name := range []string{entriesDir, uploadsDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	folders, err := os.ReadDir(filepath.Join(dir, entriesDir))
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		one, err := s.load(folder.Name())
		if err != nil {
			if err := os.RemoveAll(s.entryDir(folder.Name())); err != nil {
				return nil, err
			}
			continue
		}
		s.entries[one.ID], s.places[one.place()] = one, one
		s.used.add(one.Repository, one.Size)
	}
	return s, nil
}

func (s *Store) entryDir(id string) string  { return filepath.Join(s.dir, entriesDir, id) }
func (s *Store) uploadDir(id string) string { return filepath.Join(s.dir, uploadsDir, id) }

// load reads an entry's file. Its blocks are checked when they are read.
func (s *Store) load(id string) (*kept, error) {
	text, err := os.ReadFile(filepath.Join(s.entryDir(id), entryFile))
	if err != nil {
		return nil, err
	}
	one := &kept{}
	if err := json.Unmarshal(text, one); err != nil {
		return nil, err
	}
	if one.ID != id || s.places[one.place()] != nil {
		return nil, ErrDamaged
	}
	var last use
	if text, err := os.ReadFile(filepath.Join(s.entryDir(id), useFile)); err == nil && json.Unmarshal(text, &last) == nil {
		one.Used, one.Hits = last.Used, last.Hits
	}
	return one, nil
}

// newID returns a random decimal number, because clients expect one. JavaScript reads 53 bits.
func newID() string {
	var bytes [8]byte
	_, _ = rand.Read(bytes[:]) // never fails (crypto/rand)
	return strconv.FormatUint(binary.BigEndian.Uint64(bytes[:])>>11, 10)
}

// Query is a search for an entry.
type Query struct {
	Repository string
	Scopes     []string // in their order
	Version    string
	Key        string
	Restore    []string // other keys or their beginnings, in their order
}

// Find returns the best entry for a query, and counts a hit. In each scope, the key itself comes
// first, then entries that begin with it, then those that begin with each other key; among several,
// the newest. GitHub's cache has the same order.
func (s *Store) Find(q Query) (Entry, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, scope := range q.Scopes {
		if exact := s.places[place{q.Repository, scope, q.Version, q.Key}]; exact != nil {
			return s.hit(exact), true
		}
		for _, beginning := range append([]string{q.Key}, q.Restore...) {
			if beginning == "" {
				continue // every key begins with it
			}
			if found := s.newest(q, scope, beginning); found != nil {
				return s.hit(found), true
			}
		}
	}
	return Entry{}, false
}

// newest returns the newest entry of a scope whose key begins so; nil if there is none.
func (s *Store) newest(q Query, scope, beginning string) (found *kept) {
	for _, one := range s.entries {
		if one.Repository == q.Repository && one.Scope == scope && one.Version == q.Version && strings.HasPrefix(one.Key, beginning) &&
			(found == nil || one.Created.After(found.Created)) {
			found = one
		}
	}
	return found
}

// hit records a use.
func (s *Store) hit(one *kept) Entry {
	one.Used, one.Hits = s.now(), one.Hits+1
	_ = s.saveUse(one) // only the time of the last use is lost
	return one.Entry
}

// saveUse replaces the file with an entry's last use at once.
func (s *Store) saveUse(one *kept) error {
	text, err := json.Marshal(use{one.Used, one.Hits})
	if err != nil {
		return err
	}
	path := filepath.Join(s.entryDir(one.ID), useFile)
	if err := os.WriteFile(path+".next", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".next", path)
}

// List returns all entries, those used last first.
func (s *Store) List() (all []Entry) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, one := range s.entries {
		all = append(all, one.Entry)
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Remove removes an entry. Its files stay until its readers are closed.
func (s *Store) Remove(id string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	one := s.entries[id]
	if one == nil {
		return fmt.Errorf("entry %s: %w", id, ErrUnknown)
	}
	return s.forget(one)
}

// forget removes an entry from the index, and its files unless it is being read. The caller must
// hold the mutex.
func (s *Store) forget(one *kept) error {
	delete(s.entries, one.ID)
	if s.places[one.place()] == one {
		delete(s.places, one.place())
	}
	s.used.add(one.Repository, -one.Size)
	if one.readers > 0 { // the next start must not find it
		if err := os.Remove(filepath.Join(s.entryDir(one.ID), entryFile)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.RemoveAll(s.entryDir(one.ID))
}

// Prune removes the entries that were unused for longer than a duration, and returns them.
func (s *Store) Prune(unused time.Duration) (removed []Entry, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.prune(unused)
}

// prune is Prune for a caller that holds the mutex.
func (s *Store) prune(unused time.Duration) (removed []Entry, err error) {
	var failures []error
	for _, one := range s.entries {
		if s.now().Sub(one.Used) > unused {
			removed = append(removed, one.Entry)
			failures = append(failures, s.forget(one))
		}
	}
	return removed, errors.Join(failures...)
}

// Expire removes entries and uploads that nobody has used for too long, and returns the entries.
func (s *Store) Expire() (removed []Entry, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var failures []error
	if s.limits.Age > 0 {
		removed, err = s.prune(s.limits.Age)
		failures = append(failures, err)
	}
	for _, one := range s.uploads {
		if s.limits.Idle > 0 && one.writers == 0 && s.now().Sub(one.written) > s.limits.Idle {
			failures = append(failures, s.discard(one))
		}
	}
	return removed, errors.Join(failures...)
}

// makePlace removes the entries of a repository that were used longest ago until another one may
// be added. The caller must hold the mutex.
func (s *Store) makePlace(repository string) error {
	var own []*kept
	for _, one := range s.entries {
		if one.Repository == repository {
			own = append(own, one)
		}
	}
	if s.limits.Entries == 0 || len(own) < s.limits.Entries {
		return nil
	}
	slices.SortFunc(own, func(a, b *kept) int { return a.Used.Compare(b.Used) })
	for _, one := range own[:len(own)-s.limits.Entries+1] {
		if err := s.forget(one); err != nil {
			return err
		}
	}
	return nil
}

// makeRoom removes entries until so many more bytes of a repository fit: first its own, if it is at
// its limit, then any, those used longest ago first. If that would not be enough, it removes none. The
// caller must hold the mutex.
func (s *Store) makeRoom(repository string, more int64) error {
	over := func() (bytes int64, onlyOwn bool) {
		if excess := s.used.own[repository] + more - s.limits.Repository; s.limits.Repository > 0 && excess > 0 {
			return excess, true
		}
		return s.used.all + more - s.limits.Size, false
	}
	for bytes, onlyOwn := over(); bytes > 0; bytes, onlyOwn = over() {
		var removable int64
		var oldest *kept
		for _, one := range s.entries {
			if one.readers > 0 || onlyOwn && one.Repository != repository {
				continue
			}
			removable += one.Size
			if oldest == nil || one.Used.Before(oldest.Used) {
				oldest = one
			}
		}
		if removable < bytes {
			return ErrNoRoom
		}
		if err := s.forget(oldest); err != nil {
			return err
		}
	}
	return nil
}
