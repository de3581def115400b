package dockerx

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// State keeps a fleet's desired state (fleet.Desired), records and events in a volume of its
// own. It reaches the volume only through the engine's archive API, so it works the same from
// every machine. The API needs a container: the supervisor's or, if there is none, a
// temporary container that is never started. State implements fleet.Store.
//
// The API can write files but not remove any: records have a fixed number of slots and events
// a fixed number of segments, which are overwritten in turn. Its writes are not atomic
// either: a reader may find half a file, so the desired state is stored twice.
type State struct {
	engine *Engine
	fleet  string

	// Data that only the supervisor writes, known from its first write on.
	mu      sync.Mutex
	slots   []slot
	segment *segment
}

// slot holds one record, or none.
type slot struct {
	record *fleet.Record
	used   bool // it has files
}

// segment is a part of the events: lines of JSON after a first line with its number.
type segment struct {
	number int
	lines  []byte
}

const (
	desiredFile   = "wish.json"
	recordsFolder = "records" // SLOT.json
	papersFolder  = "papers"  // SLOT.log, SLOT.diag.log
	eventsFolder  = "events"  // (NUMBER modulo segments).jsonl
	segments      = 8
	segmentSize   = fleet.EventsSize / segments
)

// State returns the state of a fleet.
func (e *Engine) State(fleetName string) *State { return &State{engine: e, fleet: fleetName} }

// Desired returns the fleet's desired state; nil if there is none.
func (s *State) Desired(ctx context.Context) (*fleet.Desired, error) {
	var broken error
	for _, name := range []string{desiredFile, desiredFile + ".new"} {
		files, err := s.read(ctx, name)
		if err != nil {
			return nil, s.failed("desired state", err)
		}
		text, there := files[name]
		if !there {
			continue
		}
		var desired fleet.Desired
		if err := json.Unmarshal(text, &desired); err != nil {
			broken = err // it is just being written
			continue
		}
		if desired.Schema > fleet.DesiredSchema {
			return nil, s.failed("desired state", &SchemaError{Object: "it", Found: strconv.Itoa(desired.Schema)})
		}
		return &desired, nil
	}
	if broken != nil {
		return nil, s.failed("desired state", broken)
	}
	return nil, nil
}

// SaveDesired replaces the fleet's desired state.
func (s *State) SaveDesired(ctx context.Context, desired fleet.Desired) error {
	text, err := json.MarshalIndent(desired, "", "\t")
	if err == nil {
		err = s.write(ctx, file{desiredFile + ".new", text}, file{desiredFile, text})
	}
	return s.failed("desired state", err)
}

// AppendEvents adds events and keeps all of them within EventsSize.
func (s *State) AppendEvents(ctx context.Context, events []fleet.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.segment == nil {
		all, err := s.readSegments(ctx)
		if err != nil {
			return s.failed("events", err)
		}
		s.segment = newSegment(0)
		if len(all) > 0 {
			s.segment = &all[len(all)-1]
		}
	}
	var changed []segment
	for _, event := range events {
		line, err := json.Marshal(event)
		if err != nil {
			return s.failed("events", err)
		}
		if len(s.segment.lines)+len(line) >= segmentSize {
			changed = append(changed, *s.segment)
			s.segment = newSegment(s.segment.number + 1)
		}
		s.segment.lines = append(append(s.segment.lines, line...), '\n')
	}
	var files []file
	for _, one := range append(changed, *s.segment) {
		files = append(files, file{fmt.Sprintf("%s/%d.jsonl", eventsFolder, one.number%segments), one.lines})
	}
	err := s.write(ctx, files...)
	if err != nil {
		s.segment = nil // its content is unknown now
	}
	return s.failed("events", err)
}

func newSegment(number int) *segment {
	return &segment{number: number, lines: fmt.Appendf(nil, `{"segment":%d}`+"\n", number)}
}

// Events lists the kept events, oldest first.
func (s *State) Events(ctx context.Context) ([]fleet.Event, error) {
	all, err := s.readSegments(ctx)
	if err != nil {
		return nil, s.failed("events", err)
	}
	var events []fleet.Event
	for _, one := range all {
		_, lines, _ := bytes.Cut(one.lines, []byte("\n"))
		for line := range bytes.Lines(lines) {
			var event fleet.Event
			if json.Unmarshal(line, &event) == nil { // else it is just being written
				events = append(events, event)
			}
		}
	}
	return events, nil
}

// readSegments returns the segments in order.
func (s *State) readSegments(ctx context.Context) (all []segment, err error) {
	files, err := s.read(ctx, eventsFolder)
	if err != nil {
		return nil, err
	}
	for _, text := range files {
		first, _, _ := bytes.Cut(text, []byte("\n"))
		var head struct {
			Segment *int `json:"segment"`
		}
		if json.Unmarshal(first, &head) == nil && head.Segment != nil {
			all = append(all, segment{*head.Segment, text[:bytes.LastIndexByte(text, '\n')+1]})
		}
	}
	slices.SortFunc(all, func(a, b segment) int { return a.number - b.number })
	return all, nil
}

// SaveRecord adds a record. At most RecordsKept records are kept, for RecordsFor.
func (s *State) SaveRecord(ctx context.Context, record fleet.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		slots, err := s.readSlots(ctx)
		if err != nil {
			return s.failed("record of "+record.Name, err)
		}
		s.slots = slots
	}
	text, err := json.Marshal(record)
	if err != nil {
		return s.failed("record of "+record.Name, err)
	}
	var files []file
	put := func(i int, text, log, diagnostics []byte) {
		files = append(files, file{slotFile(recordsFolder, i, "json"), text}, file{slotFile(papersFolder, i, "log"), log}, file{slotFile(papersFolder, i, "diag.log"), diagnostics})
	}
	chosen := choose(s.slots, record.Name)
	for i, one := range s.slots {
		if i != chosen && one.used && (one.record == nil || expired(*one.record, time.Now())) {
			put(i, nil, nil, nil)
			s.slots[i] = slot{}
		}
	}
	put(chosen, text, record.Log, record.Diagnostics)
	if err := s.write(ctx, files...); err != nil {
		s.slots = nil
		return s.failed("record of "+record.Name, err)
	}
	record.Log, record.Diagnostics = nil, nil
	s.slots[chosen] = slot{&record, true}
	return nil
}

// choose selects the slot of a record: the slot of a record with the same name, else a free
// slot, else the slot of the oldest record.
func choose(slots []slot, name string) int {
	chosen := 0
	for i, one := range slots {
		oldest := slots[chosen].record
		switch {
		case one.record != nil && one.record.Name == name:
			return i
		case oldest == nil:
		case one.record == nil || ended(*one.record).Before(ended(*oldest)):
			chosen = i
		}
	}
	return chosen
}

// ended returns when a runner ended, or when it was created if its end is unknown.
func ended(record fleet.Record) time.Time {
	if record.Finished.IsZero() {
		return record.Created
	}
	return record.Finished
}

func expired(record fleet.Record, now time.Time) bool {
	return now.Sub(ended(record)) > fleet.RecordsFor
}

func slotFile(folder string, i int, kind string) string {
	return fmt.Sprintf("%s/%03d.%s", folder, i, kind)
}

// readSlots returns all RecordsKept slots.
func (s *State) readSlots(ctx context.Context) ([]slot, error) {
	files, err := s.read(ctx, recordsFolder)
	if err != nil {
		return nil, err
	}
	slots := make([]slot, fleet.RecordsKept)
	for i := range slots {
		text := files[slotFile(recordsFolder, i, "json")]
		var record fleet.Record
		if slots[i].used = len(text) > 0; slots[i].used && json.Unmarshal(text, &record) == nil {
			slots[i].record = &record
		}
	}
	return slots, nil
}

// Records lists the kept records, oldest first, without their texts.
func (s *State) Records(ctx context.Context) (records []fleet.Record, err error) {
	slots, err := s.readSlots(ctx)
	if err != nil {
		return nil, s.failed("records", err)
	}
	for _, one := range slots {
		if one.record != nil && !expired(*one.record, time.Now()) {
			records = append(records, *one.record)
		}
	}
	slices.SortStableFunc(records, func(a, b fleet.Record) int { return ended(a).Compare(ended(b)) })
	return records, nil
}

// Record returns a record with its texts; nil if there is none.
func (s *State) Record(ctx context.Context, name string) (*fleet.Record, error) {
	slots, err := s.readSlots(ctx)
	if err != nil {
		return nil, s.failed("record of "+name, err)
	}
	for i, one := range slots {
		if one.record == nil || one.record.Name != name || expired(*one.record, time.Now()) {
			continue
		}
		for kind, text := range map[string]*[]byte{"log": &one.record.Log, "diag.log": &one.record.Diagnostics} {
			from := slotFile(papersFolder, i, kind)
			files, err := s.read(ctx, from)
			if err != nil {
				return nil, s.failed("record of "+name, err)
			}
			*text = files[path.Base(from)]
		}
		return one.record, nil
	}
	return nil, nil
}

func (s *State) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("fleet %s: %s: %w", s.fleet, what, err)
}

// file is a file of the volume.
type file struct {
	name    string
	content []byte
}

// write puts files into the volume, one after the other.
func (s *State) write(ctx context.Context, files ...file) error {
	return s.visit(ctx, true, func(id string) error { return s.engine.put(ctx, id, stateFolder, files) })
}

// put writes files and their folders through the archive API. Only root has access to them.
func (e *Engine) put(ctx context.Context, id, folder string, files []file) error {
	var body bytes.Buffer
	out := tar.NewWriter(&body)
	made := map[string]bool{".": true}
	for _, one := range files {
		if dir := path.Dir(one.name); !made[dir] {
			made[dir] = true
			_ = out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o700}) // none of these fails on a buffer
		}
		_ = out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: one.name, Mode: 0o600, Size: int64(len(one.content))})
		_, _ = out.Write(one.content)
	}
	_ = out.Close()
	return e.api.CopyToContainer(ctx, id, folder, &body, container.CopyToContainerOptions{})
}

// read returns the files of a folder, or the one file, by their names in the archive. It
// returns no files if the name does not exist.
func (s *State) read(ctx context.Context, name string) (files map[string][]byte, err error) {
	err = s.visit(ctx, false, func(id string) error {
		files = map[string][]byte{}
		return s.engine.files(ctx, id, stateFolder+"/"+name, func(name string, content io.Reader) error {
			text, err := io.ReadAll(content)
			files[name] = text
			return err
		})
	})
	return files, err
}

// visit calls do with a container that has the volume. Without a volume it does nothing, or
// creates the volume if making is set. A file that is not found is no error.
func (s *State) visit(ctx context.Context, making bool, do func(id string) error) error {
	found, err := s.engine.Supervisor(ctx, s.fleet)
	if err != nil {
		return err
	}
	if found.ContainerID != "" {
		err := do(found.ContainerID)
		if !cerrdefs.IsNotFound(err) {
			return err
		}
		// Was it the container that was not found?
		if again, err := s.engine.Supervisor(ctx, s.fleet); err != nil || again.ContainerID == found.ContainerID {
			return err
		}
	}
	volume := stateVolume(s.fleet)
	if making {
		if err := s.engine.ensureVolume(ctx, s.fleet, volume, roleState); err != nil {
			return err
		}
	} else if _, err := s.engine.api.VolumeInspect(ctx, volume); cerrdefs.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	image, err := s.engine.carrierImage(ctx)
	if err != nil {
		return err
	}
	err = s.engine.aside(ctx, s.fleet, image, mount.Mount{Type: mount.TypeVolume, Source: volume, Target: stateFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}, do)
	if cerrdefs.IsNotFound(err) && !making {
		return nil
	}
	return err
}

// carrierImage returns any of runnerctl's images: none of its programs runs.
func (e *Engine) carrierImage(ctx context.Context) (string, error) {
	tag, err := e.AnyImage(ctx)
	if err != nil || tag != "" {
		return tag, err
	}
	images, err := e.supervisorImages(ctx)
	if err != nil {
		return "", err
	}
	if len(images) == 0 {
		return "", errors.New("the engine no longer has a runnerctl image, which is needed to access volumes")
	}
	return images[0].ID, nil
}

// aside creates a temporary container that is never started: the archive API reaches the
// volume through it.
func (e *Engine) aside(ctx context.Context, fleetName, image string, volume mount.Mount, do func(id string) error) (err error) {
	config := &container.Config{Image: image, Labels: ownLabels(fleetName, string(fleet.Probe)), Entrypoint: []string{"/nosuch"}, Cmd: []string{}, Volumes: map[string]struct{}{}}
	host := &container.HostConfig{
		NetworkMode: "none", CapDrop: []string{"ALL"}, Mounts: []mount.Mount{volume},
		Tmpfs: map[string]string{dataRoot: "size=4k"}, // else a runner image's VOLUME would create an anonymous volume
	}
	whole := context.WithoutCancel(ctx)
	name := probeName + randomName()
	made, err := e.createProbe(whole, config, host, name)
	if err != nil {
		return fmt.Errorf("volume %s: %w", volume.Source, err)
	}
	defer func() {
		if left := e.removeProbe(whole, made.ID, name); left != nil {
			err = errors.Join(err, left)
		}
	}()
	return do(made.ID)
}

// saveCredential writes a supervisor's credential into its volume, so that it appears in no
// arguments, environment, labels or log.
func (e *Engine) saveCredential(ctx context.Context, fleetName, image string, credential secret.Text) error {
	volume := mount.Mount{Type: mount.TypeVolume, Source: credentialVolume(fleetName), Target: credentialFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}
	err := e.aside(ctx, fleetName, image, volume, func(id string) error {
		return e.put(ctx, id, credentialFolder, []file{{credentialName, []byte(credential.Reveal())}})
	})
	if err != nil {
		return fmt.Errorf("fleet %s: credential: %w", fleetName, err)
	}
	return nil
}
