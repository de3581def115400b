use strict;
use warnings;
use Escape;
use Fcntl;

# groups returns the folders of the visible control groups, the own ones first. It uses
# only existing mounts: mounting a hierarchy can create one, which would take its
# controller from the host.
sub groups {
	my @mounts = grep { -e "$_/cgroup.procs" } glob("/sys/fs/cgroup /sys/fs/cgroup/* /h/sys/fs/cgroup /h/sys/fs/cgroup/*");
	die "no control group is visible\n" if !@mounts;
	writable(@mounts);
	open my $list, "<", "/proc/self/cgroup" or die "/proc/self/cgroup: $!\n";
	my %own = map { /:(\/.+)$/ ? ($1 => 1) : () } <$list>;
	my @own;
	for my $mount (@mounts) { push @own, grep { -d } map { "$mount$_" } keys %own }
	return (@own, @mounts);
}

# of is the files of that name in all groups.
sub of {
	my @names = @_;
	return grep { -e } map { my $group = $_; map { "$group/$_" } @names } groups();
}

attempt "cgroup-limit", "the own memory limit, with its current value",
	"a job could use all memory of the host", sub {
	my $result = not_attempted("no limit is visible");
	for my $path (of("memory.max", "memory.limit_in_bytes")) {
		$result = write_back($path);
		return $result if $result->[0] eq "escaped";
	}
	return $result;
};

attempt "cgroup-leave", "the list of a group's processes",
	"a job could leave its limits", sub {
	my @files = of("cgroup.procs");
	return @files ? opens(O_WRONLY, @files) : not_attempted("no group is visible");
};

attempt "cgroup-devices", "the list of devices that a group may use",
	"a job could allow itself the host's disks", sub {
	my @files = of("devices.allow");
	return @files ? opens(O_WRONLY, @files) : not_attempted("control groups v2 have no such file");
};

attempt "cgroup-release", "the program that the kernel runs when a group is empty",
	"the host would run a program of a job as root", sub {
	my @files = of("release_agent");
	return @files ? opens(O_WRONLY, @files) : not_attempted("no root of a group is visible");
};
1;
