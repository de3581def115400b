use strict;
use warnings;
use Escape;
use Fcntl;
use POSIX ();

# against calls TRY for each process. TRY returns true if the attempt succeeded.
sub against {
	my ($try, @processes) = @_;
	my $reason = "none of its processes is visible";
	for my $process (@processes) {
		return escaped("process $process") if $try->($process);
		$reason = "process $process: $!";
	}
	return blocked($reason);
}

# other uses the processes of the canary in another runner. outer uses those of the canary
# in the own outer tree, and the processes there that run this machine, by name.
sub other {
	my ($try) = @_;
	return $given{token} ? against($try, processes_with($given{token})) : not_attempted("no canary");
}

sub outer {
	my ($try) = @_;
	return not_attempted("no canary") if !$given{outer};
	my @named = grep {
		open my $file, "<", "/proc/$_/comm";
		$file && (<$file> // "") =~ /^(machine|slirp4netns|pasta.*)$/;
	} map { m{(\d+)$} } glob "/proc/[0-9]*";
	return against($try, processes_with($given{outer}), @named);
}

# Operations on a process without effect: signal 0, a trace that does not stop the process
# and ends with this attempt, files that are opened and not read.
sub signalled { return kill 0, $_[0] }
sub traced { return call("ptrace", 0x4206, $_[0] + 0, 0, 0) == 0 } # PTRACE_SEIZE
sub opened { return sysopen my $file, "/proc/$_[0]/mem", O_RDWR }

attempt "other-process", "the visibility of a process of another runner",
	"a job could read the command lines of other jobs", sub { other(sub { 1 }) };

attempt "signal", "a signal to a process of another runner",
	"all runners have one uid on the host: a job could end processes of another runner", sub { other(\&signalled) };

attempt "ptrace", "a trace of a process of another runner",
	"a job could control processes of another runner", sub { other(\&traced) };

attempt "process-memory", "the memory of a process of another runner",
	"a job could read secrets of other jobs", sub { other(\&opened) };

attempt "process-environment", "the environment of a process of another runner",
	"a job could read tokens of other runners' processes", sub {
	other(sub {
		open my $file, "<", "/proc/$_[0]/environ" or return 0;
		local $/;
		return index(<$file> // "", "CANARY=$given{token}") >= 0;
	});
};

attempt "outer-signal", "a signal to the runner's own outer processes",
	"a job could end processes that the supervisor watches", sub { outer(\&signalled) };

attempt "outer-ptrace", "a trace of the runner's own outer processes",
	"a job could leave its user namespace by controlling an outer process", sub { outer(\&traced) };

attempt "outer-memory", "the memory of the runner's own outer processes",
	"a job could leave its user namespace by changing an outer process", sub { outer(\&opened) };

# by_pidfd calls TRY with a descriptor of the process.
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
	"a job could read and write open files of other runners", sub { other(\&descriptor_taken) };

attempt "outer-descriptor", "an open file of the runner's own outer processes",
	"a job could get a file descriptor that leads out of its machine", sub { outer(\&descriptor_taken) };

attempt "compared", "a comparison with kernel objects of another runner's process",
	"a job could learn addresses of kernel objects", sub { other(sub { call("kcmp", $_[0] + 0, $$, 1, 0, 0) >= 0 }) }; # KCMP_VM

attempt "memory-advice", "a page-out of the memory of a process of another runner",
	"a job could slow down other runners", sub {
	other(sub { by_pidfd($_[0], sub { call("process_madvise", $_[0], 0, 0, 20, 0) >= 0 }) }); # MADV_COLD, of nothing
};

attempt "credential-input", "the standard input of the runner's own outer processes",
	"the agent's credential arrives on standard input", sub { outer(sub { sysopen my $file, "/proc/$_[0]/fd/0", O_RDONLY | O_NONBLOCK }) };

attempt "namespace", "the mounts of another runner",
	"a job could enter the machine of another runner", sub {
	other(sub {
		sysopen my $file, "/proc/$_[0]/ns/mnt", O_RDONLY or return 0;
		return call("setns", fileno $file, 0) == 0;
	});
};

attempt "shared-memory", "System V memory of another runner",
	"a job could read and change the memory of another runner", sub {
	return not_attempted("no canary") if !$given{shm};
	return escaped("its key opens it") if defined shmget $given{shm}, 0, 0;
	return blocked("$!");
};

# outside returns the uid on the host for a uid here.
sub outside {
	my ($uid) = @_;
	open my $map, "<", "/proc/self/uid_map" or die "/proc/self/uid_map: $!\n";
	while (<$map>) {
		my ($in, $out, $length) = split;
		return $out + $uid - $in if $uid >= $in && $uid < $in + $length;
	}
	return $uid;
}

# became runs a program without input, and returns every uid that it used.
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

attempt "setuid", "each setuid file in the container",
	"a job could misuse a program that runs as root on the host", sub {
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
