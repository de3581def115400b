use strict;
use warnings;
use Escape;

# mounted tries a file system that exposes the host to any process that can mount it.
sub mounted {
	my ($type) = @_;
	open my $list, "<", "/proc/filesystems" or die "/proc/filesystems: $!\n";
	return not_attempted("the kernel has none") if !grep { /\b$type$/ } <$list>;
	my $at = mount_own($type) // return blocked("mount: $!");
	call("umount2", $at, 2);
	rmdir $at;
	return escaped("it was mounted");
}

attempt "mount-debugfs", "a new debugfs mount",
	"a job could reach internals of the host's kernel", sub { mounted("debugfs") };

attempt "mount-tracefs", "a new tracefs mount",
	"a job could trace every process of the host", sub { mounted("tracefs") };

attempt "mount-securityfs", "a new securityfs mount",
	"a job could reach the host's security rules", sub { mounted("securityfs") };

attempt "mount-configfs", "a new configfs mount",
	"a job could reach the host's kernel objects", sub { mounted("configfs") };

attempt "mount-devtmpfs", "a new devtmpfs mount",
	"a job could reach all the host's devices", sub { mounted("devtmpfs") };

attempt "mount-pstore", "a new pstore mount",
	"a job could read the host's last crash dump", sub { mounted("pstore") };
1;
