package doctor

import (
	"fmt"
	"slices"
	"strings"
)

var storageChecks = []Check{
	{ID: "storage.driver", Title: "storage driver", Group: "Storage", Severity: Mandatory, Needs: NeedsEngine, Run: storageDriver,
		Why: "vfs copies whole layers"},
	{ID: "storage.filesystem", Title: "file system of the engine's root", Group: "Storage", Severity: Mandatory, Needs: NeedsEngine | WantsMachine, Run: storageFilesystem,
		Why: "it holds the runners' volumes, and an overlay's upper layer can't be on another overlay, NFS or FUSE"},
	{ID: "storage.space", Title: "free disk", Group: "Storage", Severity: Advice, Needs: NeedsEngine | NeedsSpace, Run: storageSpace,
		Why: "every runner keeps its images and containers in a volume of its own"},
	{ID: "storage.inodes", Title: "free inodes", Group: "Storage", Severity: Advice, Needs: NeedsEngine | NeedsSpace, Run: storageInodes,
		Why: "an unpacked image has tens of thousands of files: without free inodes, a disk with free space is full"},
}

func storageDriver(f Facts) Outcome {
	driver := f.Engine.StorageDriver
	observed := driver
	if f.Engine.containerdStore() {
		observed += ", of the containerd store: images are in containerd's root, the runners' volumes in " + f.Engine.RootDir
	}
	switch driver {
	case "vfs", "native": // its name in the containerd store
		return Outcome{Fail, observed, advice("put the engine's root, and containerd's, on ext4 or xfs, so that it can use overlays")}
	case "overlay2", "overlayfs":
		return pass("%s", observed)
	}
	return Outcome{Warn, observed, advice("use overlay2, or overlayfs of the containerd store; other drivers are not tested")}
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
		return skip("the engine does not report it")
	case kind == "tmpfs" || kind == "ramfs":
		return Outcome{Fail, kind + ": files of runners use the machine's memory and are lost after a reboot", remedy}
	case kind == "overlay" || kind == "overlayfs" || strings.HasPrefix(kind, "nfs") || strings.HasPrefix(kind, "fuse") || slices.Contains([]string{"vfat", "cifs", "9p", "ecryptfs"}, kind):
		return Outcome{Fail, kind, remedy}
	case f.Engine.StorageStatus["Supports d_type"] == "false":
		return Outcome{Fail, kind + " without d_type", advice("recreate the file system: mkfs.xfs -n ftype=1")}
	case kind == "zfs":
		return Outcome{Warn, kind, advice("overlays need OpenZFS 2.2 or newer; ext4, xfs and btrfs always work")}
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
		return Outcome{Warn, observed, advice("free some space: %d runners need %d GiB or more; docker system df shows the usage", f.Wanted.Count, needed>>30)}
	}
	return pass("%s", observed)
}

func storageInodes(f Facts) Outcome {
	if f.Space.AllInodes == 0 {
		return pass("allocated as needed")
	}
	needed := int64(runnerFiles * (1 + f.Wanted.Count))
	observed := fmt.Sprintf("%d free in %s", f.Space.Inodes, f.Engine.RootDir)
	if f.Space.Inodes < needed {
		return Outcome{Warn, observed, advice("remove unused images and files; %d runners need %d or more", f.Wanted.Count, needed)}
	}
	return pass("%s", observed)
}
