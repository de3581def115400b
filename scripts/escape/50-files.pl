use strict;
use warnings;
use Escape;
use Fcntl;

attempt "outer-tree", "the outer file tree of the runner",
	"a job could reach the programs that create its user namespace", sub {
	my $tried = 0;
	for my $root (roots()) {
		$tried++;
		for my $name ("/usr/lib/runnerctl/assert", "/rootfs/usr/lib/runnerctl/containerd.toml", "/sys-rw/kernel") {
			return escaped("$root$name is there") if -e "$root$name";
		}
	}
	return blocked("not behind any of $tried ways");
};

attempt "runtime-files", "the files of the runner's start",
	"a job could read and change files that the supervisor trusts", sub {
	for my $root (roots()) {
		for my $name ("/run/user/1001/control.sock") {
			return escaped("$root$name is there") if -e "$root$name";
		}
	}
	return blocked("not visible");
};

attempt "chroot-walk", "the way out of a chroot through an open folder",
	"a job could reach the root filesystem outside of its chroot", sub {
	my @before = (stat "/")[0, 1];
	my $inner = path_of_own("chroot");
	mkdir $inner or die "$inner: $!\n";
	my $changed = chroot $inner;
	my $reason = "chroot: $!";
	if ($changed) {
		chdir ".." for 1 .. 50; # the working folder is still outside
		chroot "." or die "chroot: $!\n";
		chdir "/";
	}
	my @after = (stat "/")[0, 1];
	rmdir $inner;
	return blocked($reason) if !$changed;
	return "@before" eq "@after" ? blocked("the walk ends at the same root") : escaped("there is another root above");
};

attempt "file-handle", "the root of the disk that holds a volume, by its file handle",
	"a job could open every file on the disk that holds a runner's volume", sub {
	my (@blocked, @unclear);
	for my $mount ("/var/lib/docker", "/h/var/lib/docker", "/etc/hosts", "/etc/resolv.conf", "/") {
		sysopen(my $on, $mount, O_RDONLY) or next;
		my $handle = pack "IIII", 8, 1, 2, 0; # FILEID_INO32_GEN; inode 2 is the root of ext4
		my $found = call("open_by_handle_at", fileno $on, $handle, O_RDONLY | O_DIRECTORY);
		if ($found >= 0) {
			POSIX::close($found);
			return escaped("the root of the disk below $mount could be opened");
		}
		# Without the capability, the result is EPERM. Linux 6.13 and newer allow the call
		# for a process that could mount the file system, and search only below that mount:
		# the result is ESTALE, as for every disk whose root has another number.
		push @{ $!{EPERM} ? \@blocked : \@unclear }, "$mount: $!";
	}
	return not_attempted("the capability was not needed, or applies only to the own files: " . join ", ", @unclear) if @unclear;
	return @blocked ? blocked(join ", ", @blocked) : not_attempted("nothing could be opened");
};

attempt "credential-file", "a file on the tmpfs of a runner's start",
	"a job could read a credential there", sub {
	return not_attempted("no canary") if !$given{outerfile};
	for my $root (roots()) {
		return escaped("$root$given{outerfile} could be read") if sysopen my $file, "$root$given{outerfile}", O_RDONLY;
	}
	return blocked("not behind any way");
};

attempt "other-file", "a file of another runner",
	"jobs of one runner could read the files of another runner", sub {
	return not_attempted("no canary") if !$given{file};
	for my $root (roots()) {
		for my $name ($given{file}, "/rootfs$given{file}") {
			return escaped("$root$name could be read") if sysopen my $file, "$root$name", O_RDONLY;
		}
	}
	return blocked("not behind any way");
};
1;
