use strict;
use warnings;
use Escape;

# mounted tries a file system that shows the host to whoever mounts it.
sub mounted {
	my ($type) = @_;
	open my $list, "<", "/proc/filesystems" or die "/proc/filesystems: $!\n";
	return not_attempted("the kernel has none") if !grep { /\b$type$/ } <$list>;
	my $at = mount_own($type) // return blocked("mount: $!");
	call("umount2", $at, 2);
	rmdir $at;
	return escaped("it was mounted");
}

attempt "mount-debugfs", "a debugfs of one's own",
	"a job could reach the insides of the host's kernel", sub { mounted("debugfs") };

attempt "mount-tracefs", "a tracefs of one's own",
	"a job could reach what every process of the host calls", sub { mounted("tracefs") };

attempt "mount-securityfs", "a securityfs of one's own",
	"a job could reach the host's security rules", sub { mounted("securityfs") };

attempt "mount-configfs", "a configfs of one's own",
	"a job could reach the host's kernel objects", sub { mounted("configfs") };

attempt "mount-devtmpfs", "a devtmpfs of one's own",
	"a job could reach all the host's devices", sub { mounted("devtmpfs") };

attempt "mount-pstore", "a pstore of one's own",
	"a job could reach the host's last crash", sub { mounted("pstore") };
1;
