# Outer tree: functions to enter the job's machine, for exec, status and cancel. They read
# files of the machine only as data and run none of its programs, so that they also work
# in a machine that a job has broken.
package Machine;
use strict;
use warnings;
use Exporter "import";
our @EXPORT = qw(first_process enter become environment call runner_uid slurp);

our $runner = 1001; # inside

# From Linux's headers, the calls by ELF's e_machine of x86_64 and arm64.
my %calls = (
	62 => { setns => 308, setgroups => 116, setresgid => 119, setresuid => 117, statfs => 137 },
	183 => { setns => 268, setgroups => 159, setresgid => 149, setresuid => 147, statfs => 43 },
);
my $calls;

# call makes a system call; text must be writable, and is written to.
sub call {
	my $name = shift;
	if (!$calls) {
		open my $self, "<", "/proc/self/exe" or die "/proc/self/exe: $!\n";
		read $self, my $header, 20;
		$calls = $calls{ unpack "x18 v", $header } or die "unknown machine\n";
	}
	return syscall($calls->{$name}, @_) == 0;
}

# slurp returns the beginning of a file, or "" if there is none.
sub slurp {
	my ($path) = @_;
	sysopen my $file, $path, 04000 or return ""; # O_NONBLOCK: it may be a pipe
	sysread $file, my $text, 65536;
	return $text // "";
}

# first_process returns the pid of the machine's init, or 0 if there is none yet.
sub first_process {
	my ($machine) = slurp("$ENV{XDG_RUNTIME_DIR}/machine.pid") =~ /^(\d+)$/ or return 0;
	# Its only child.
	my ($init) = slurp("/proc/$machine/task/$machine/children") =~ /^(\d+) /;
	return $init // 0;
}

# runner_uid returns the uid of the machine's user runner on the host.
sub runner_uid {
	my ($first) = slurp("/etc/subuid") =~ /^[^:]*:(\d+):/ or die "/etc/subuid: no range\n";
	return $first + $runner - 1;
}

# enter joins namespaces of the machine; only children are in its process namespace.
sub enter {
	my ($init, @names) = @_;
	my @files;
	for my $name (@names) { # all first: behind the mounts /proc is another
		open my $file, "<", "/proc/$init/ns/$name" or die "/proc/$init/ns/$name: $!\n";
		push @files, $file;
	}
	for my $i (0 .. $#names) { call("setns", fileno $files[$i], 0) or die "namespace $names[$i]: $!\n" }
	chdir "/";
}

# become changes this process to a user of the entered machine, with the groups of the
# machine's files. It returns the user's name and home; the name is undefined if
# /etc/passwd has none.
sub become {
	my ($uid) = @_;
	my ($name, $home);
	for (split /\n/, slurp("/etc/passwd")) {
		my @fields = split /:/, $_, -1;
		($name, $home) = @fields[0, 5], last if ($fields[2] // "") eq $uid;
	}
	my @groups = ($uid);
	if (defined $name && $uid) {
		for (split /\n/, slurp("/etc/group")) {
			my (undef, undef, $gid, $members) = split /:/;
			push @groups, $gid if ($gid // "") =~ /^\d+$/ && grep { $_ eq $name } split /,/, $members // "";
		}
	}
	my $list = pack "L*", @groups;
	call("setgroups", scalar @groups, $list) && call("setresgid", $uid, $uid, $uid) && call("setresuid", $uid, $uid, $uid) or die "user $uid: $!\n";
	return ($name, $home);
}

# environment sets the environment of jobs, as scripts/image/environment does for the
# agent: /etc/environment, certificates from runnerctl, overridden by runners.env.
sub environment {
	my ($uid, $name, $home) = @_;
	my ($set) = $ENV{RUNNERCTL_ENV} // "";
	delete $ENV{$_} for "HOSTNAME", "XDG_RUNTIME_DIR", grep { /^RUNNERCTL_/ } keys %ENV;
	$home //= "/";
	@ENV{qw(HOME USER LOGNAME SHELL)} = ($home, ($name // $uid) x 2, "/bin/bash");
	$ENV{PATH} = "$home/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	my $certificates = "/usr/local/share/ca-certificates/runnerctl.crt";
	my @lines = map { s/^(\w+=)"(.*)"$/$1$2/r =~ s/\$HOME/$home/gr } split /\n/, slurp("/etc/environment");
	push @lines, "NODE_EXTRA_CA_CERTS=$certificates" if -e $certificates;
	for (@lines, split /\n/, $set) { $ENV{$1} = $2 if /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/ }
}
1;
