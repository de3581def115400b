package doctor

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

var imageChecks = []Check{
	{ID: "image.subids", Title: "subordinate ids", Group: "Image", Severity: Mandatory, Needs: NeedsImage, Run: imageSubIDs,
		Why: "newuidmap passes every range of the user to the kernel, by name and by number, and the kernel refuses overlapping ranges: \"write to uid_map failed: Invalid argument\""},
	{ID: "image.newuidmap", Title: "newuidmap and newgidmap", Group: "Image", Severity: Mandatory, Needs: NeedsImage, Run: imageNewuidmap,
		Why: "as setuid root, they need CAP_SYS_ADMIN, which an unprivileged container lacks (\"write to uid_map failed: Operation not permitted\"); with file capabilities SETUID and SETGID are enough"},
	{ID: "image.setuid", Title: "setuid programs", Group: "Image", Severity: Advice, Needs: NeedsImage, Run: imageSetuid,
		Why: "a rootless daemon needs an unmasked /proc, and through it a setuid-root program that a job can start may write the host's core_pattern"},
	{ID: "image.libc", Title: "C library", Group: "Image", Severity: Advice, Needs: NeedsImage, Run: imageLibc,
		Why: "GitHub's runner and its bundled Node need glibc"},
	{ID: "image.tools", Title: "programs of a rootless daemon", Group: "Image", Severity: Advice, Needs: NeedsImage, Run: imageTools,
		Why: "without them, the inner daemon does not start or has no network"},
}

// Image holds the parts of an image that doctor --image reads.
type Image struct {
	Name  string
	User  string          // user that it starts as; "" for root
	Files map[string]File // by path without the leading slash; only files that a check looks at
}

// File is a file of an image.
type File struct {
	Mode         fs.FileMode
	UID, GID     int
	Capabilities []byte // security.capability
	Text         string
}

// rootfs is the folder of the job root filesystem in a runner image. Its owners are shifted.
const rootfs = "rootfs/"

// Texts and programs that checks look at. Programs may be in any folder bin or sbin.
var (
	imageTexts    = []string{"etc/passwd", "etc/subuid", "etc/subgid"}
	imagePrograms = []string{"newuidmap", "newgidmap", "dockerd", "containerd", "runc", "iptables", "slirp4netns", "pasta", "vpnkit", "rootlesskit", "unshare", "bash"}
)

// ReadImage reads an image's files from the tar of its tree. user is the user that the image
// starts as.
func ReadImage(name, user string, stream io.Reader) (Image, error) {
	image := Image{Name: name, User: user, Files: map[string]File{}}
	for archive := tar.NewReader(stream); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return image, nil
		}
		if err != nil {
			return image, fmt.Errorf("image %s: %w", name, err)
		}
		file := File{Mode: header.FileInfo().Mode(), UID: header.Uid, GID: header.Gid, Capabilities: []byte(header.PAXRecords["SCHILY.xattr.security.capability"])}
		at := path.Clean(strings.TrimPrefix(header.Name, "/"))
		text := slices.Contains(imageTexts, at)
		program := slices.Contains([]string{"bin", "sbin"}, path.Base(path.Dir(at))) && slices.Contains(imagePrograms, path.Base(at))
		musl := strings.HasPrefix(path.Base(at), "ld-musl-")
		glibc := path.Base(at) == "libc.so.6"
		if header.Typeflag == tar.TypeDir || !text && !program && !musl && !glibc && !file.special() {
			continue
		}
		if text {
			content, err := io.ReadAll(io.LimitReader(archive, 1<<20))
			if err != nil {
				return image, fmt.Errorf("image %s: %s: %w", name, at, err)
			}
			file.Text = string(content)
		}
		image.Files[at] = file
	}
}

// special reports whether a file gives rights that the user who starts it does not have.
func (f File) special() bool {
	return f.Mode.IsRegular() && (f.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 || len(f.Capabilities) > 0)
}

// program finds a program by name in the outer tree, or with inner in the job root filesystem.
func (i Image) program(name string, inner bool) (at string, file File, ok bool) {
	for _, folder := range []string{"usr/local/bin", "usr/local/sbin", "usr/bin", "usr/sbin", "bin", "sbin"} {
		at = folder + "/" + name
		if inner {
			at = rootfs + at
		}
		if file, ok = i.Files[at]; ok {
			return at, file, true
		}
	}
	return "", File{}, false
}

// extent is one range of a map: first id inside, first id outside, length.
type extent struct{ inside, outside, length int }

func (e extent) overlaps(other extent) bool {
	return e.outside < other.outside+other.length && other.outside < e.outside+e.length
}

// account is a user of the image, with the map that newuidmap would get for this user.
type account struct {
	name    string
	id      int
	extents []extent // the first is the user's own id
}

// line returns the map as newuidmap's command line and the kernel's error show it.
func (a account) line() string {
	var numbers []string
	for _, one := range a.extents {
		numbers = append(numbers, strconv.Itoa(one.inside), strconv.Itoa(one.outside), strconv.Itoa(one.length))
	}
	return "[" + strings.Join(numbers, " ") + "]"
}

// accounts joins passwd with a file of subordinate ids as rootlesskit does: first the lines
// with the user's name, then the lines with the user's number.
func accounts(passwd, sub string, idField int) (all []account) {
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 {
			continue
		}
		uid := fields[2]
		id, err := strconv.Atoi(fields[idField])
		if err != nil {
			continue
		}
		one := account{name: fields[0], id: id, extents: []extent{{0, id, 1}}}
		next := 1
		for _, owner := range []string{fields[0], uid} {
			for line := range strings.Lines(sub) {
				range3 := strings.Split(strings.TrimSpace(line), ":")
				if len(range3) != 3 || range3[0] != owner {
					continue
				}
				first, err := strconv.Atoi(range3[1])
				length, err2 := strconv.Atoi(range3[2])
				if err != nil || err2 != nil {
					continue
				}
				one.extents = append(one.extents, extent{next, first, length})
				next += length
			}
		}
		if len(one.extents) > 1 {
			all = append(all, one)
		}
	}
	return all
}

// wantedIDs is the number of ids that an ordinary image needs, without 0: the highest one is 65534.
const wantedIDs = 65534

func imageSubIDs(f Facts) Outcome {
	passwd := f.Image.Files["etc/passwd"].Text
	var bad, shared, fine []string
	for _, file := range []struct {
		path  string
		field int // index in passwd
	}{{"etc/subuid", 2}, {"etc/subgid", 3}} {
		all := accounts(passwd, f.Image.Files[file.path].Text, file.field)
		for i, one := range all {
			if problem := one.problem(); problem != "" {
				bad = append(bad, fmt.Sprintf("/%s: %s: %s in %s", file.path, one.name, problem, one.line()))
			} else {
				fine = append(fine, fmt.Sprintf("%s: %d ids in %s", one.name, one.total(), one.line()))
			}
			for _, other := range all[:i] {
				if slices.ContainsFunc(one.extents[1:], func(e extent) bool { return slices.ContainsFunc(other.extents[1:], e.overlaps) }) {
					shared = append(shared, fmt.Sprintf("/%s: %s and %s share ids: %s and %s", file.path, other.name, one.name, other.line(), one.line()))
				}
			}
		}
	}
	remedy := advice("after the last useradd, overwrite both files with one line each: echo NAME:100000:65536 >/etc/subuid (useradd has already written that line, so >> would duplicate it; another user before it only moves the range)")
	switch {
	case len(bad) > 0:
		return Outcome{Fail, strings.Join(slices.Concat(bad, shared), "; "), remedy}
	case len(shared) > 0:
		return Outcome{Warn, strings.Join(shared, "; "), remedy}
	case len(fine) == 0:
		return skip("no user of the image has a range")
	}
	return pass("%s", fine[0])
}

func (a account) total() (sum int) {
	for _, one := range a.extents[1:] {
		sum += one.length
	}
	return sum
}

// problem returns why the kernel would refuse the map, or why an ordinary image would not work
// with it.
func (a account) problem() string {
	for i, one := range a.extents {
		for _, other := range a.extents[:i] {
			switch {
			case one.outside == other.outside && one.length == other.length:
				return fmt.Sprintf("%d:%d is there twice", one.outside, one.length)
			case one.overlaps(other) && other == a.extents[0]:
				return fmt.Sprintf("%d:%d holds the user's own id %d", one.outside, one.length, a.id)
			case one.overlaps(other):
				return fmt.Sprintf("%d:%d and %d:%d overlap", other.outside, other.length, one.outside, one.length)
			}
		}
		if one.outside+one.length > 1<<32-1 {
			return fmt.Sprintf("%d:%d goes beyond the last id", one.outside, one.length)
		}
	}
	if a.total() < wantedIDs {
		return fmt.Sprintf("%d ids, %d are needed", a.total(), wantedIDs)
	}
	return ""
}

// holds reports whether file capabilities grant a capability, effective at once.
func holds(capabilities []byte, bit uint) bool {
	if len(capabilities) < 8 { // struct vfs_cap_data: magic and flags, then permitted
		return false
	}
	effective := binary.LittleEndian.Uint32(capabilities)&1 != 0
	return effective && binary.LittleEndian.Uint32(capabilities[4:])&(1<<bit) != 0
}

func imageNewuidmap(f Facts) Outcome {
	var bad, fine []string
	for _, one := range []struct {
		name string
		bit  uint
		text string
	}{{"newuidmap", capSetuid, "cap_setuid"}, {"newgidmap", capSetgid, "cap_setgid"}} {
		at, file, ok := f.Image.program(one.name, false)
		setuid := file.Mode&fs.ModeSetuid != 0
		switch {
		case !ok:
			bad = append(bad, "no "+one.name)
		case setuid:
			bad = append(bad, "/"+at+" is setuid root")
		case !holds(file.Capabilities, one.bit):
			bad = append(bad, "/"+at+" has no "+one.text+"+ep, and is not setuid")
		default:
			fine = append(fine, "/"+at+" has "+one.text+"+ep")
		}
	}
	switch {
	case len(bad) == 2 && strings.HasPrefix(bad[0], "no ") && strings.HasPrefix(bad[1], "no "):
		return skip("neither exists, so the image has no rootless daemon")
	case len(bad) > 0:
		return Outcome{Fail, strings.Join(bad, "; "), advice("in the Dockerfile: RUN chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap && setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap")}
	}
	return pass("%s", strings.Join(fine, ", "))
}

func imageSetuid(f Facts) Outcome {
	var found []string
	for at, file := range f.Image.Files {
		name := path.Base(at)
		mapper := (name == "newuidmap" || name == "newgidmap") && file.Mode&(fs.ModeSetuid|fs.ModeSetgid) == 0
		root := file.Mode&fs.ModeSetuid != 0 && file.UID == 0 || file.Mode&fs.ModeSetgid != 0 && file.GID == 0
		// In the job root filesystem of a runner image owners are shifted: its root, and the
		// capabilities of its files, have no rights outside.
		shifted := strings.HasPrefix(at, rootfs) && !root
		if !file.special() || mapper || shifted {
			continue
		}
		kind := "setgid"
		switch {
		case file.Mode&fs.ModeSetuid != 0:
			kind = "setuid"
		case len(file.Capabilities) > 0:
			kind = "capabilities"
		}
		found = append(found, fmt.Sprintf("/%s (%s)", at, kind))
	}
	slices.Sort(found)
	if len(found) > 0 {
		return Outcome{Warn, fmt.Sprintf("%d: %s", len(found), strings.Join(found, ", ")), advice("never start it with systempaths=unconfined and jobs in this root filesystem; runnerctl build puts such a base into a root filesystem of its own, where these bits give no rights on the host")}
	}
	return pass("none but newuidmap and newgidmap")
}

func imageLibc(f Facts) Outcome {
	for _, tree := range []string{"", rootfs} {
		var musl, glibc bool
		for at := range f.Image.Files {
			inside, ok := strings.CutPrefix(at, tree)
			if !ok || tree == "" && strings.HasPrefix(at, rootfs) {
				continue
			}
			folder := strings.TrimPrefix(path.Dir(inside), "usr/") // same folder if /usr is merged
			musl = musl || folder == "lib" && strings.HasPrefix(path.Base(inside), "ld-musl-")
			glibc = glibc || path.Base(inside) == "libc.so.6"
		}
		if musl && !glibc { // Debian's package musl is installed next to glibc
			return Outcome{Warn, "musl", advice("use a Debian or Ubuntu base for jobs")}
		}
	}
	return pass("not based on musl alone")
}

func imageTools(f Facts) Outcome {
	anywhere := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			_, _, outer := f.Image.program(name, false)
			_, _, inner := f.Image.program(name, true)
			return outer || inner
		})
	}
	if !anywhere("dockerd") {
		return skip("no dockerd: not a runner image, but maybe a base for one")
	}
	var missing []string
	for _, alternatives := range [][]string{{"newuidmap"}, {"newgidmap"}, {"rootlesskit", "unshare"}, {"slirp4netns", "pasta", "vpnkit"}, {"containerd"}, {"runc"}, {"iptables"}, {"bash"}} {
		if !anywhere(alternatives...) {
			missing = append(missing, strings.Join(alternatives, " or "))
		}
	}
	if len(missing) > 0 {
		return Outcome{Warn, "missing: " + strings.Join(missing, ", "), advice("install them; on Debian: uidmap, rootlesskit, slirp4netns or passt, docker.io, iptables")}
	}
	return pass("all present")
}
