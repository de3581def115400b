use strict;
use warnings;
use Escape;
use Fcntl;
use POSIX ();

# against gives each of the processes to TRY, which returns true where it got in.
sub against {
	my ($try, @processes) = @_;
	my $reason = "none of its processes is seen";
	for my $process (@processes) {
		return escaped("process $process") if $try->($process);
		$reason = "process $process: $!";
	}
	return blocked($reason);
}

# other gives those of the canary in another runner, outer those of the one in the
# own outer tree, and what makes this machine there, by name.
sub other {
	my ($try) = @_;
	return $given{token} ? against($try, processes_with($given{token})) : not_attempted("no canary");
}

sub outer {
	my ($try) = @_;
	return not_attempted("no canary") if !$given{outer};
	my @named = grep {
		open my $file, "<", "/proc/$_/comm";
		$file && (<$file> // "") =~ /^(tini|start|slirp4netns|pasta.*)$/;
	} map { m{(\d+)$} } glob "/proc/[0-9]*";
	return against($try, processes_with($given{outer}), @named);
}

# What is done to a process, without effect: a signal that is none, a trace that
# does not stop it and ends with this attempt, files opened and not read.
sub signalled { return kill 0, $_[0] }
sub traced { return call("ptrace", 0x4206, $_[0] + 0, 0, 0) == 0 } # PTRACE_SEIZE
sub opened { return sysopen my $file, "/proc/$_[0]/mem", O_RDWR }

attempt "other-process", "a process of another runner, to be seen",
	"command lines of others' jobs could be read", sub { other(sub { 1 }) };

attempt "signal", "a process of another runner, to be signalled",
	"all runners have one uid on the host: a job could end another's", sub { other(\&signalled) };

attempt "ptrace", "a process of another runner, to be traced",
	"a job could become another's", sub { other(\&traced) };

attempt "process-memory", "the memory of a process of another runner",
	"secrets of another's job could be read", sub { other(\&opened) };

attempt "process-environment", "the environment of a process of another runner",
	"tokens that others' processes hold could be read", sub {
	other(sub {
		open my $file, "<", "/proc/$_[0]/environ" or return 0;
		local $/;
		return index(<$file> // "", "CANARY=$given{token}") >= 0;
	});
};

attempt "outer-signal", "the runner's own outer processes, to be signalled",
	"a job could end what the supervisor watches", sub { outer(\&signalled) };

attempt "outer-ptrace", "the runner's own outer processes, to be traced",
	"a job could leave the user namespace by becoming one", sub { outer(\&traced) };

attempt "outer-memory", "the memory of the runner's own outer processes",
	"a job could leave the user namespace by changing one", sub { outer(\&opened) };

# by_pidfd gives TRY a descriptor that stands for the process.
sub by_pidfd {
	my ($process, $try) = @_;
	my $descriptor = call("pidfd_open", $process + 0, 0);
	return 0 if $descriptor < 0;
	my $done = $try->($descriptor);
	my $problem = $!;
	POSIX::close($descriptor);
	$! = $problem;
	return $done;
}

sub descriptor_taken {
	return by_pidfd($_[0], sub {
		my $taken = call("pidfd_getfd", $_[0], 0, 0);
		POSIX::close($taken) if $taken >= 0;
		return $taken >= 0;
	});
}

attempt "descriptor", "an open file of a process of another runner",
	"a job could read and write what others have open", sub { other(\&descriptor_taken) };

attempt "outer-descriptor", "an open file of the runner's own outer processes",
	"a job could take what leads out of its machine", sub { outer(\&descriptor_taken) };

attempt "compared", "kernel objects of another runner's process, compared with one's own",
	"a job could learn where the kernel keeps what", sub { other(sub { call("kcmp", $_[0] + 0, $$, 1, 0, 0) >= 0 }) }; # KCMP_VM

attempt "memory-advice", "the memory of a process of another runner, to be paged out",
	"a job could slow others down", sub {
	other(sub { by_pidfd($_[0], sub { call("process_madvise", $_[0], 0, 0, 20, 0) >= 0 }) }); # MADV_COLD, of nothing
};

attempt "credential-input", "the standard input of the runner's own outer processes",
	"the agent's credential comes that way", sub { outer(sub { sysopen my $file, "/proc/$_[0]/fd/0", O_RDONLY | O_NONBLOCK }) };

attempt "namespace", "the mounts of another runner",
	"a job could enter another's machine", sub {
	other(sub {
		sysopen my $file, "/proc/$_[0]/ns/mnt", O_RDONLY or return 0;
		return call("setns", fileno $file, 0) == 0;
	});
};

attempt "shared-memory", "System V memory of another runner",
	"a job could read and change another's memory", sub {
	return not_attempted("no canary") if !$given{shm};
	return escaped("its key opens it") if defined shmget $given{shm}, 0, 0;
	return blocked("$!");
};

# outside is what a uid is on the host.
sub outside {
	my ($uid) = @_;
	open my $map, "<", "/proc/self/uid_map" or die "/proc/self/uid_map: $!\n";
	while (<$map>) {
		my ($in, $out, $length) = split;
		return $out + $uid - $in if $uid >= $in && $uid < $in + $length;
	}
	return $uid;
}

# became runs a program, with nothing to read, and returns every uid that it could act with.
sub became {
	my ($path) = @_;
	my ($name) = $path =~ m{([^/]{1,15})[^/]*$};
	my $child = fork // die "fork: $!\n";
	if (!$child) {
		POSIX::setsid();
		open STDIN, "<", "/dev/null";
		open STDOUT, ">", "/dev/null";
		open STDERR, ">", "/dev/null";
		exec { $path } $path, "--version" or POSIX::_exit(127);
	}
	my ($until, %uids) = (time + 3);
	while (waitpid($child, POSIX::WNOHANG()) == 0) {
		if (time > $until) { kill "KILL", $child; next }
		open my $status, "<", "/proc/$child/status" or next;
		local $/;
		my $text = <$status> // next;
		next if $text !~ /^Name:\t\Q$name\E$/m || $text !~ /^Uid:\t\d+\t(\d+)\t(\d+)\t(\d+)$/m;
		@uids{ $1, $2, $3 } = ();
	}
	return keys %uids;
}

attempt "setuid", "each setuid file that is found",
	"a program of the host's root could be made to work for a job", sub {
	my (@files, @folders);
	my $device = (stat "/")[0];
	@folders = ("/");
	while (defined(my $folder = shift @folders)) {
		opendir my $list, $folder or next;
		for my $name (readdir $list) {
			my $path = $folder eq "/" ? "/$name" : "$folder/$name";
			my ($on, $mode) = (lstat $path)[0, 2];
			next if $name =~ /^\.\.?$/ || !defined $mode || $on != $device;
			if (-d _) { push @folders, $path }
			elsif (-f _ && $mode & 04000 && -x _) { push @files, $path }
		}
	}
	return not_attempted("no setuid file here") if !@files;
	my @unseen;
	for my $path (@files) {
		my @uids;
		for (1 .. 5) { last if @uids = became($path) } # a quick one ends before it is looked at
		push @unseen, $path if !@uids;
		for my $uid (@uids) { return escaped("$path runs as the host's root") if outside($uid) == 0 }
	}
	return not_attempted("@unseen: too quick to be seen") if @unseen;
	return blocked("none of " . @files . " is anybody on the host");
};
1;
