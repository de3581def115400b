package doctor

import (
	"fmt"
	"slices"
	"strings"
)

var storageChecks = []Check{
	{ID: "storage.driver", Title: "storage driver", Group: "Storage", Severity: Mandatory, Needs: NeedsEngine, Run: storageDriver,
		Why: "vfs copies every layer whole"},
	{ID: "storage.filesystem", Title: "file system of the engine's root", Group: "Storage", Severity: Mandatory, Needs: NeedsEngine | WantsMachine, Run: storageFilesystem,
		Why: "the runners' volumes lie there, and an overlay's upper layer can't lie on another overlay, on NFS or on FUSE"},
	{ID: "storage.space", Title: "free disk", Group: "Storage", Severity: Advice, Needs: NeedsEngine | NeedsSpace, Run: storageSpace,
		Why: "every runner keeps its images and containers in a volume of its own"},
	{ID: "storage.inodes", Title: "free inodes", Group: "Storage", Severity: Advice, Needs: NeedsEngine | NeedsSpace, Run: storageInodes,
		Why: "an unpacked image is tens of thousands of files: without inodes the disk is full whatever is free"},
}

func storageDriver(f Facts) Outcome {
	driver := f.Engine.StorageDriver
	observed := driver
	if f.Engine.containerdStore() {
		observed += ", of the containerd store: its images lie in containerd's root, the runners' volumes in " + f.Engine.RootDir
	}
	switch driver {
	case "vfs", "native": // its name in the containerd store
		return Outcome{Fail, observed, advice("put the engine's root, and containerd's, on ext4 or xfs, so that it can use overlays")}
	case "overlay2", "overlayfs":
		return pass("%s", observed)
	}
	return Outcome{Warn, observed, advice("overlay2, and overlayfs of the containerd store, are what is known to do")}
}

// containerdStore reports whether the engine keeps images in containerd, as it does by default
// since Docker 29.
func (e Engine) containerdStore() bool {
	return e.StorageStatus["driver-type"] == "io.containerd.snapshotter.v1"
}

// storageFilesystem uses the engine's report, or the mount table if it can be read: the
// volumes' folder may be another mount.
func storageFilesystem(f Facts) Outcome {
	kind := f.Engine.StorageStatus["Backing Filesystem"]
	if found, ok := mountOf(f.Machine.mounts(), f.Engine.RootDir+"/volumes"); ok {
		kind = found.kind
	}
	remedy := advice("put the engine's root (\"data-root\" in its daemon.json) on ext4, xfs or btrfs")
	switch {
	case kind == "":
		return skip("the engine does not tell")
	case kind == "tmpfs" || kind == "ramfs":
		return Outcome{Fail, kind + ": what runners write takes the machine's memory, and is gone after a reboot", remedy}
	case kind == "overlay" || kind == "overlayfs" || strings.HasPrefix(kind, "nfs") || strings.HasPrefix(kind, "fuse") || slices.Contains([]string{"vfat", "cifs", "9p", "ecryptfs"}, kind):
		return Outcome{Fail, kind, remedy}
	case f.Engine.StorageStatus["Supports d_type"] == "false":
		return Outcome{Fail, kind + " without d_type", advice("make the file system anew: mkfs.xfs -n ftype=1")}
	case kind == "zfs":
		return Outcome{Warn, kind, advice("overlays lie on zfs since OpenZFS 2.2 only; ext4, xfs and btrfs are safe")}
	}
	return pass("%s", kind)
}

// Space that the image and one runner need at least.
const (
	imageBytes  = 2 << 30
	runnerBytes = 4 << 30
	runnerFiles = 100_000
)

func storageSpace(f Facts) Outcome {
	needed := int64(imageBytes + runnerBytes*max(2, f.Wanted.Count))
	observed := fmt.Sprintf("%d GiB free in %s", f.Space.Free>>30, f.Engine.RootDir)
	if f.Space.Free < needed {
		return Outcome{Warn, observed, advice("free some: %d runners want %d GiB or more; docker system df tells what takes the space", f.Wanted.Count, needed>>30)}
	}
	return pass("%s", observed)
}

func storageInodes(f Facts) Outcome {
	if f.Space.AllInodes == 0 {
		return pass("made as needed")
	}
	needed := int64(runnerFiles * (1 + f.Wanted.Count))
	observed := fmt.Sprintf("%d free in %s", f.Space.Inodes, f.Engine.RootDir)
	if f.Space.Inodes < needed {
		return Outcome{Warn, observed, advice("remove images and files that nobody needs; %d runners want %d or more", f.Wanted.Count, needed)}
	}
	return pass("%s", observed)
}
