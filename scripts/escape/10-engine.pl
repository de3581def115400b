use strict;
use warnings;
use Escape;
use Socket;

attempt "engine-socket", "the socket of the host's Docker Engine",
	"a job could create any container on the host, and so become root there", sub {
	my (%seen, $reason);
	for my $root (roots()) {
		for my $name ("/var/run/docker.sock", "/run/docker.sock", "/docker.sock") {
			my ($device, $inode) = stat "$root$name" or next;
			next if $seen{"$device:$inode"}++;
			socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
			# A path of up to 107 bytes.
			next if length "$root$name" > 100;
			if (!connect($socket, pack_sockaddr_un("$root$name"))) { $reason = "$root$name: $!"; next }
			# The runner's own daemon is a visible process in its machine. In a container,
			# it is not visible, and the socket exists only if it was mounted: no attempt
			# mounts it.
			my ($pid) = unpack "i", getsockopt($socket, SOL_SOCKET, SO_PEERCRED);
			if ($pid != 0) { $reason = "only the runner's own at $root$name"; next }
			syswrite $socket, "GET /_ping HTTP/1.0\r\n\r\n";
			sysread $socket, my $answer, 1000;
			return escaped("$root$name answers, and is no process of this machine") if ($answer // "") =~ m{^HTTP/1};
		}
	}
	return blocked($reason // "none is visible");
};

attempt "abstract-socket", "an abstract socket of another network, and of the runner's outer one",
	"services that listen on abstract sockets (as containerd's shims did) could grant root", sub {
	my $result = not_attempted("no canary");
	for my $token (grep { defined } @given{ "token", "outer" }) {
		my ($there, $reason) = answers(PF_UNIX, pack("Sa*", AF_UNIX, "\0$token"), $token);
		return escaped("it answers") if $there;
		$result = blocked($reason);
	}
	return $result;
};
1;
