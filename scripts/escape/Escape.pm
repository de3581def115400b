package Escape;

# Functions of the attempts. They are harmless by construction: an opened file is closed
# at once and not written, a setting gets the value that was just read, a call with an
# effect gets an invalid argument, and the targets were created for the attempts.
use strict;
use warnings;
use Fcntl;
use POSIX ();
use Socket;
use Exporter "import";

our @EXPORT = qw(%given attempt blocked escaped not_attempted opens kernel call roots processes_with
	path_of_own mount_own writable make_node answers write_back);

our %given;    # the battery's input: KEY=VALUE lines
our @attempts; # in the order of the files

# attempt ID, TITLE, MEANING, TRY: MEANING is the risk if TRY returns escaped. runnerctl
# also reads the first three from the file, so they are literals.
sub attempt {
	my ($id, undef, undef, $try) = @_;
	push @attempts, { id => $id, try => $try };
}

sub blocked { return ["blocked", shift] }
sub escaped { return ["escaped", shift] }
sub not_attempted { return ["not attempted", shift] }

# opens tries each path; the first that opens escapes.
sub opens {
	my ($flags, @paths) = @_;
	my $reason;
	for my $path (@paths) {
		return escaped("$path could be opened") if sysopen(my $file, $path, $flags);
		$reason = "$path: $!" if !$!{ENOENT};
	}
	return defined $reason ? blocked($reason) : not_attempted("the kernel has none");
}

# write_back writes the current value of a setting into it.
sub write_back {
	my ($path) = @_;
	return not_attempted("the kernel has none") if !-e $path;
	sysopen(my $in, $path, O_RDONLY) or return blocked("$path: $!");
	defined sysread($in, my $value, 4096) or return blocked("$path: $!");
	sysopen(my $out, $path, O_WRONLY) or return blocked("$path: $!");
	defined syswrite($out, $value) or return blocked("$path: $!");
	return escaped("$path could be written");
}

# Numbers from include/uapi/asm-generic/unistd.h and for x86.
my $machine = (POSIX::uname())[4];
my %numbers = (
	mount => [165, 40], umount2 => [166, 39], unshare => [272, 97], setns => [308, 268], mknodat => [259, 33], ptrace => [101, 117],
	init_module => [175, 105], finit_module => [313, 273], delete_module => [176, 106], kexec_load => [246, 104], swapon => [167, 224],
	adjtimex => [159, 171], bpf => [321, 280], perf_event_open => [298, 241], ioperm => [173], fanotify_init => [300, 262], keyctl => [250, 219],
	mbind => [237, 235], kcmp => [312, 272], pidfd_open => [434, 434], pidfd_getfd => [438, 438], process_madvise => [440, 440],
	personality => [135, 92], add_key => [248, 217], io_uring_setup => [425, 425],
	syslog => [103, 116], name_to_handle_at => [303, 264], open_by_handle_at => [304, 265],
);

# call makes a system call and returns its result, or -1 and $!. If the machine has no
# call of that name, or its number is unknown here, the call is not attempted.
sub call {
	my ($name, @arguments) = @_; # literals can't be passed to the kernel
	my $number = $numbers{$name}[$machine eq "aarch64" ? 1 : 0];
	die "no $name on $machine\n" if !defined $number || $machine !~ /^(x86_64|aarch64)$/;
	$! = 0;
	my $result = syscall($number, @arguments);
	my $problem = $!;
	for my $i (0 .. $#arguments) { $_[$i + 1] = $arguments[$i] if !Internals::SvREADONLY($_[$i + 1]) } # the kernel may have written
	$! = $problem;
	return $result;
}

# kernel evaluates a call that can't succeed: an errno in @through means that only its
# arguments were refused.
sub kernel {
	my ($result, @through) = @_;
	return escaped("the call went through") if $result >= 0;
	return not_attempted("the kernel has no such call") if $!{ENOSYS} && !grep { $_ eq "ENOSYS" } @through;
	for my $errno (@through) { return escaped("the call was let through: $!") if $!{$errno} }
	return blocked("$!");
}

# roots are all paths to a file tree: the own one, a mounted one, and those of the
# visible processes.
sub roots {
	my @found = ("");
	push @found, "/h" if -d "/h";
	for my $process (glob "/proc/[0-9]*") {
		push @found, "$process/root", "$process/cwd", "$process/cwd/../../../../../..";
		for my $fd (glob "$process/fd/*") { push @found, $fd, "$fd/../../../../../.." if -d $fd }
	}
	return @found;
}

# processes_with returns the processes that have a canary's token in their arguments, by
# their ids here. No argument and no variable of this process has it.
sub processes_with {
	my ($token) = @_;
	my @found;
	for my $process (glob "/proc/[0-9]*") {
		open my $file, "<", "$process/cmdline" or next;
		local $/;
		my $line = <$file> // "";
		push @found, $process =~ m{(\d+)$} if index($line, $token) >= 0;
	}
	return @found;
}

# path_of_own returns a new name in a writable folder.
my $made = 0;
sub path_of_own {
	$made++;
	for my $folder ("/tmp", "/root", "/home/runner") { return "$folder/runnerctl-escape-$$-$made-" . shift if -w $folder }
	die "no folder to write in\n";
}

# own_mounts gives this process its own mount namespace, so that no mount is left; in a
# new user namespace if necessary. Without one, nothing is mounted.
sub own_mounts {
	my ($mounts, $user) = (0x20000, 0x10000000); # CLONE_NEWNS, CLONE_NEWUSER
	call("unshare", $mounts) == 0 or call("unshare", $mounts | $user) == 0 or die "no mounts of one's own: $!\n";
	call("mount", "none", "/", 0, 0x44000, 0) == 0 or die "no private mounts: $!\n"; # MS_REC|MS_PRIVATE
}

# writable makes mounts writable for this process, if it can have its own mount namespace.
sub writable {
	my (@paths) = @_;
	eval { own_mounts(); 1 } or return;
	call("mount", "none", $_, 0, 0x1020, 0) for @paths; # MS_REMOUNT|MS_BIND, not read-only
}

# mount_own mounts a file system and returns the folder, or undef and $!.
sub mount_own {
	my ($type) = @_;
	own_mounts();
	my $at = path_of_own($type);
	mkdir $at or die "$at: $!\n";
	return $at if call("mount", "none", $at, $type, 0, 0) == 0;
	my $problem = $!;
	rmdir $at;
	$! = $problem;
	return undef;
}

# make_node creates a device node and returns its path, or undef and $!.
sub make_node {
	my ($type, $major, $minor) = @_; # 0060000 block, 0020000 character
	my $path = path_of_own("node");
	return $path if call("mknodat", -100, $path, $type | 0600, $major << 8 | $minor) == 0;
	return undef;
}

# answers reports whether the canary answers at an address with its token. It sets no
# alarm, because the attempt already has one.
sub answers {
	my ($family, $address, $token) = @_;
	socket(my $socket, $family, SOCK_STREAM, 0) or return (0, "socket: $!");
	setsockopt $socket, SOL_SOCKET, $_, pack("qq", 3, 0) for SO_SNDTIMEO, SO_RCVTIMEO; # seconds; the first is connect's
	connect($socket, $address) or return (0, $!{EINPROGRESS} ? "timed out" : "$!");
	defined sysread $socket, my $text, 200 or return (0, $!{EAGAIN} ? "says nothing" : "$!");
	return $text =~ /\Q$token\E/ ? (1, "") : (0, "somebody else answers");
}

1;
