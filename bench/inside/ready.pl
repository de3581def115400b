# Says "bench: ready" once an inner Docker daemon answers /_ping. Runs in the
# outer container beside either contender, as its user: a look every 10 ms that
# starts no process. The socket is found by where any process here has it.
use Socket;
while (1) {
	for my $path (glob "/proc/[0-9]*/root/run/docker.sock /proc/[0-9]*/root/run/user/1001/docker.sock") {
		next unless -S $path;
		socket(my $daemon, PF_UNIX, SOCK_STREAM, 0) or next;
		connect($daemon, sockaddr_un($path)) or next;
		syswrite($daemon, "GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n");
		sysread($daemon, my $answer, 4096) or next;
		next unless $answer =~ m{^HTTP/1\.\d 200 };
		syswrite(STDOUT, "bench: ready\n");
		exit 0;
	}
	select(undef, undef, undef, 0.01);
}
