use strict;
use warnings;
use Escape;
use Fcntl;
use POSIX ();

attempt "core-pattern", "kernel.core_pattern, with its current value",
	"the host would run a program of a job as root at the next crash", sub { write_back("/proc/sys/kernel/core_pattern") };

attempt "core-pattern-fresh", "kernel.core_pattern, through a new proc mount",
	"path-based rules could be bypassed", sub {
	my $proc = mount_own("proc") // return blocked("mount: $!");
	my $result = write_back("$proc/sys/kernel/core_pattern");
	call("umount2", $proc, 2);
	rmdir $proc;
	return $result;
};

# Settings that a namespace has for itself.
my $own = qr{^/proc/sys/(net/|user/|fs/mqueue/|fs/binfmt_misc/|kernel/(hostname|domainname|shm|msg|sem|auto_msgmni|ns_last_pid|pid_max|keys/gc)|vm/memfd_noexec)};

attempt "sysctl", "a kernel setting that is not part of the network namespace",
	"a job could change the host's kernel settings", sub {
	my ($tried, @folders) = (0, "/proc/sys");
	while (my $folder = shift @folders) {
		for my $path (glob "$folder/*") {
			if (-d $path) { push @folders, $path; next }
			next if $path =~ $own || !((stat $path)[2] & 0222);
			$tried++;
			return escaped("$path could be opened for writing") if sysopen my $file, $path, O_WRONLY;
		}
	}
	return $tried ? blocked("all of $tried refused: $!") : not_attempted("/proc/sys has none to write");
};

attempt "binary-format", "the host's registry of binary formats",
	"a program of a job would run when the host runs its programs", sub {
	my $registry = mount_own("binfmt_misc") // return $!{ENODEV} ? not_attempted("the kernel has none") : blocked("mount: $!");
	my $opens = sysopen my $file, "$registry/register", O_WRONLY;
	my $reason = "$!";
	close $file if $opens;
	call("umount2", $registry, 2);
	rmdir $registry;
	return blocked("register: $reason") if !$opens;
	# Since Linux 6.7, each user namespace has its own registry; before, none can mount it.
	open my $map, "<", "/proc/self/uid_map" or die "/proc/self/uid_map: $!\n";
	return escaped("register could be opened") if <$map> =~ /^\s*0\s+0\s+4294967295/;
	return blocked("only the machine's own registry opens");
};

attempt "sysfs", "a file of /sys that is not part of the network namespace",
	"a job could reach devices and drivers of the host", sub {
	writable("/sys");
	my $device = (stat "/sys")[0];
	my ($tried, @folders) = (0, "/sys");
	my $problem = "";
	while (my $folder = shift @folders) {
		opendir my $list, $folder or next;
		for my $name (readdir $list) {
			my $path = "$folder/$name";
			my ($on, $mode) = (lstat $path)[0, 2];
			next if $name =~ /^\.\.?$/ || !defined $mode || $on != $device;
			if (-d _) { push @folders, $path if $path !~ m{/net$}; next }
			next if !-f _ || !($mode & 0222);
			$tried++;
			return escaped("$path could be opened for writing") if sysopen my $file, $path, O_WRONLY;
			$problem = $!;
		}
	}
	return $tried ? blocked("all of $tried refused: $problem") : not_attempted("/sys has none to write");
};

attempt "sysrq", "/proc/sysrq-trigger",
	"a job could restart the host", sub { opens(O_WRONLY, "/proc/sysrq-trigger") };

attempt "kcore", "/proc/kcore",
	"a job could read the host's memory", sub { opens(O_RDONLY, "/proc/kcore") };

attempt "syslog", "the kernel's log, by its system call",
	"a job could read addresses and names in the host's kernel log", sub { kernel(call("syslog", 10, 0, 0)) };

attempt "module", "a kernel module, with an empty image",
	"a job could run code in the host's kernel", sub { kernel(call("init_module", "", 0, ""), "ENOEXEC") };

attempt "module-file", "a kernel module, from an empty file",
	"a job could run code in the host's kernel", sub {
	my $path = path_of_own("module");
	sysopen(my $file, $path, O_RDWR | O_CREAT) or die "$path: $!\n";
	unlink $path;
	return kernel(call("finit_module", fileno $file, "", 0), "ENOEXEC", "EINVAL");
};

attempt "module-removal", "the removal of a nonexistent kernel module",
	"a job could remove drivers from the host", sub { kernel(call("delete_module", "runnerctl_no_such_module", O_NONBLOCK), "ENOENT") };

attempt "kexec", "another kernel, with invalid flags",
	"a job could replace the host's kernel", sub { kernel(call("kexec_load", 0, 0, 0, 0x00f0f0), "EINVAL") };

attempt "swap", "swap on a nonexistent file",
	"a job could change the host's memory", sub { kernel(call("swapon", "/runnerctl-no-such-file", 0), "ENOENT") };

attempt "clock", "the host's clock, with its current tick",
	"a job could make certificates and tokens of the host expire", sub {
	my $timex = "\0" x 208;
	call("adjtimex", $timex) >= 0 or return blocked("$!");
	substr $timex, 0, 4, pack "I", 0x4000; # ADJ_TICK, as read into it
	return kernel(call("adjtimex", $timex));
};

attempt "bpf", "the list of the host's BPF programs",
	"a job could watch and change the host's kernel", sub {
	my $attributes = "\0" x 64;
	return kernel(call("bpf", 11, $attributes, 64), "ENOENT"); # BPF_PROG_GET_NEXT_ID
};

attempt "perf", "a performance counter over all processes",
	"a job could watch other programs on the host", sub {
	my $attributes = pack "IIQ", 1, 64, 0; # PERF_TYPE_SOFTWARE, size, PERF_COUNT_SW_CPU_CLOCK
	$attributes .= "\0" x 48;
	return kernel(call("perf_event_open", $attributes, -1, 0, -1, 0));
};

attempt "io-ports", "a port of the machine's hardware",
	"a job could access the host's devices", sub { kernel(call("ioperm", 0x80, 1, 1)) };

attempt "fanotify", "a watch that allows or denies access to other users' files",
	"a job could see and stop accesses to files on the host", sub { kernel(call("fanotify_init", 4, 0)) }; # FAN_CLASS_CONTENT

attempt "keyring", "the kernel's keyrings",
	"all runners have one uid on the host: a job could use up its quota and look for keys", sub {
	return blocked("refused: $!") if call("keyctl", 0, -3, 0) < 0 && ($!{ENOSYS} || $!{EPERM});
	return escaped("keyctl is answered");
};

attempt "key", "a new key in the kernel that ends with this process",
	"all runners have one uid on the host: a job could use up its quota", sub {
	return escaped("add_key is answered") if call("add_key", "user", "runnerctl-escape", "x", 1, -2) >= 0; # of the process
	return blocked("$!");
};

attempt "io-uring", "io_uring, if runners.syscalls does not open it",
	"a job could reach a large part of the kernel with many past vulnerabilities", sub {
	return not_attempted("runners.syscalls opens it") if ($given{opened} // "") =~ /\bio_uring\b/;
	my $parameters = "\0" x 120;
	my $ring = call("io_uring_setup", 1, $parameters);
	return blocked("$!") if $ring < 0;
	POSIX::close($ring);
	return escaped("a ring was made");
};

attempt "moved-memory", "the NUMA node of shared memory, with length 0",
	"a job could slow down other programs", sub { kernel(call("mbind", 0, 0, 0, 0, 0, 4)) }; # MPOL_MF_MOVE_ALL

attempt "page-zero", "a personality that maps the first page",
	"a null pointer bug in the kernel would give root on the host", sub { kernel(call("personality", 0x0100000)) };

attempt "other-key", "a key of another user of the host",
	"a job could find passwords and tokens of other users in the kernel", sub {
	return not_attempted("no canary key") if !$given{key};
	if (open my $list, "<", "/proc/keys") {
		return escaped("/proc/keys shows it") if grep { /\Q$given{token}\E/ } <$list>;
	}
	my $text = "\0" x 200;
	return escaped("keyctl describes it") if call("keyctl", 6, $given{key} + 0, $text, 200) >= 0; # KEYCTL_DESCRIBE
	return blocked("not in /proc/keys; by its number: $!");
};

attempt "priority", "a higher priority than the host's processes",
	"a job could starve other programs on the host", sub {
	return escaped("a nice value below 0") if setpriority 0, 0, -5;
	return blocked("$!");
};
1;
