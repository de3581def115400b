// Package counts counts the use of a cache.
package counts

import (
	"net/http"
	"strings"
	"sync"
)

// Count is the use of a cache.
type Count struct {
	Hits            int64 `json:"hits"`   // of actions
	Misses          int64 `json:"misses"` // of actions
	SavedBytes      int64 `json:"saved_bytes"`
	RestoredBytes   int64 `json:"restored_bytes"`
	ImageBytes      int64 `json:"image_bytes"`      // blobs that the mirror sent
	DownloadedBytes int64 `json:"downloaded_bytes"` // blobs that the mirror fetched from registries
}

// mostRunners bounds the runners whose counts nobody has taken.
const mostRunners = 4096

// Counts counts since the start of the cache, for several goroutines.
type Counts struct {
	mutex   sync.Mutex
	all     Count
	runners map[string]*Count
}

// Add changes the counts of all requests, and those of a runner; "" is no runner.
func (c *Counts) Add(runner string, change func(*Count)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	change(&c.all)
	if runner == "" {
		return
	}
	if c.runners == nil || len(c.runners) >= mostRunners {
		c.runners = map[string]*Count{}
	}
	if c.runners[runner] == nil {
		c.runners[runner] = &Count{}
	}
	change(c.runners[runner])
}

// Now returns the counts of all requests.
func (c *Counts) Now() Count {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.all
}

// Runners returns the counts of all runners since they were last taken.
func (c *Counts) Runners() map[string]Count {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	all := map[string]Count{}
	for name, one := range c.runners {
		all[name] = *one
	}
	return all
}

// Take returns the counts of a runner since they were last taken, and forgets them.
func (c *Counts) Take(runner string) Count {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	found := c.runners[runner]
	delete(c.runners, runner)
	if found == nil {
		return Count{}
	}
	return *found
}

// Runner returns the runner that made a request; "" if its address does not name one. The init of a runner
// connects from the abstract address @RUNNER/NUMBER (package forward).
func Runner(r *http.Request) string {
	name, _, found := strings.Cut(strings.TrimPrefix(r.RemoteAddr, "@"), "/")
	if !found {
		return ""
	}
	return name
}
