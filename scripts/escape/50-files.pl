use strict;
use warnings;
use Escape;
use Fcntl;

attempt "outer-tree", "the outer file tree of the runner",
	"what makes the user namespace could be reached by what it holds", sub {
	my $tried = 0;
	for my $root (roots()) {
		$tried++;
		for my $name ("/usr/lib/runnerctl/assert", "/rootfs/usr/lib/runnerctl/init", "/sys-rw/kernel") {
			return escaped("$root$name is there") if -e "$root$name";
		}
	}
	return blocked("not behind any of $tried ways");
};

attempt "runtime-files", "the files of the runner's start",
	"a job could see and change what the supervisor goes by", sub {
	for my $root (roots()) {
		for my $name ("/run/user/1001/machine.pid", "/run/user/1001/ready") {
			return escaped("$root$name is there") if -e "$root$name";
		}
	}
	return blocked("not seen");
};

attempt "chroot-walk", "out of a changed root, by way of an open folder",
	"a job could walk up into the tree that its root was changed from", sub {
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

attempt "file-handle", "the root of the disk that a volume is on, by its number",
	"every file of the disk behind a runner's volume could be opened", sub {
	my (@blocked, @unclear);
	for my $mount ("/var/lib/docker", "/h/var/lib/docker", "/etc/hosts", "/etc/resolv.conf", "/") {
		sysopen(my $on, $mount, O_RDONLY) or next;
		my $handle = pack "IIII", 8, 1, 2, 0; # FILEID_INO32_GEN; inode 2 is the root of ext4
		my $found = call("open_by_handle_at", fileno $on, $handle, O_RDONLY | O_DIRECTORY);
		if ($found >= 0) {
			POSIX::close($found);
			return escaped("the root of the disk below $mount could be opened");
		}
		# Nobody without the capability gets further than EPERM. Linux 6.13 and newer
		# let in who could mount what is asked for, and look for it below that alone:
		# ESTALE then, and with all others that the disk's root has another number.
		push @{ $!{EPERM} ? \@blocked : \@unclear }, "$mount: $!";
	}
	return not_attempted("the capability was not asked for, or is there for the own files only: " . join ", ", @unclear) if @unclear;
	return @blocked ? blocked(join ", ", @blocked) : not_attempted("nothing could be opened");
};

attempt "credential-file", "a file in the memory where a runner's start keeps its own",
	"a credential there would be a job's", sub {
	return not_attempted("no canary") if !$given{outerfile};
	for my $root (roots()) {
		return escaped("$root$given{outerfile} could be read") if sysopen my $file, "$root$given{outerfile}", O_RDONLY;
	}
	return blocked("not behind any way");
};

attempt "other-file", "a file of another runner",
	"jobs of one runner could read the work of another's", sub {
	return not_attempted("no canary") if !$given{file};
	for my $root (roots()) {
		for my $name ($given{file}, "/rootfs$given{file}") {
			return escaped("$root$name could be read") if sysopen my $file, "$root$name", O_RDONLY;
		}
	}
	return blocked("not behind any way");
};
1;
