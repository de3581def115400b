use strict;
use warnings;
use Escape;

# File systems that show the host whoever mounts them.
for my $one (
	["debugfs", "the insides of the host's kernel"],
	["tracefs", "what every process of the host calls"],
	["securityfs", "the host's security rules"],
	["configfs", "the host's kernel objects"],
	["devtmpfs", "all the host's devices"],
	["pstore", "the host's last crash"],
) {
	my ($type, $what) = @$one;
	attempt "mount-$type", "a $type of one's own", "a job could reach $what", sub {
		open my $list, "<", "/proc/filesystems" or die "/proc/filesystems: $!\n";
		return not_attempted("the kernel has none") if !grep { /\b$type$/ } <$list>;
		my $at = mount_own($type) // return blocked("mount: $!");
		call("umount2", $at, 2);
		rmdir $at;
		return escaped("it was mounted");
	};
}
1;
