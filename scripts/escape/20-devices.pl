use strict;
use warnings;
use Escape;
use Fcntl;

attempt "mknod", "a new device node",
	"with new device nodes, a job could reach any device of the host", sub {
	my $path = make_node(0060000, 7, 255) // return blocked("mknod: $!");
	unlink $path; # it was not opened
	return escaped("a block device could be made");
};

attempt "host-disk", "a disk of the host",
	"everything on the host's disks could be read", sub {
	return not_attempted("no canary disk") if !$given{disk};
	my ($major, $minor) = split /:/, $given{disk};
	my @nodes = grep { -b $_ && (stat $_)[6] == ($major << 8 | $minor) } glob("/dev/* /dev/*/* /h/dev/*");
	my $made = make_node(0060000, $major, $minor);
	my $reason = "mknod: $!";
	push @nodes, $made if $made;
	return blocked($reason) if !@nodes;
	my $result = opens(O_RDONLY, @nodes);
	unlink $made if $made;
	return $result;
};

attempt "kmsg", "the kernel's log, as a device",
	"a job could read the host's kernel log and write false entries", sub {
	my $made = make_node(0020000, 1, 11);
	my $result = opens(O_WRONLY, "/dev/kmsg", "/h/dev/kmsg", $made // ());
	unlink $made if $made;
	return $result->[0] eq "escaped" ? $result : opens(O_RDONLY, "/proc/kmsg");
};

attempt "device", "a device that runners.devices does not name",
	"a job could reach the host's hardware and drivers", sub {
	my %own = map { $_ => 1 } qw(null zero full random urandom tty ptmx console net/tun), split(/,/, $given{devices} // "");
	my @others = grep { -c $_ || -b $_ } map { glob "$_/* $_/*/*" } "/dev", "/h/dev";
	@others = grep { my ($name) = m{/dev/(.*)}; !$own{$name} && $name !~ m{^(pts|fd)/} } @others;
	return blocked("none is there") if !@others;
	return opens(O_RDONLY | O_NONBLOCK, @others);
};
1;
