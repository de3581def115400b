# ready.pl SECONDS docker|machine: prints "bench: ready" when an inner Docker daemon answers
# /_ping, or when a runner's machine reports that jobs may begin, although its daemon has
# not started. Runs in the outer container of any side, as its user, and checks every
# SECONDS without starting a process (0.2 ms per check). It finds the socket through any
# process here, so that the method is the same for all sides.
use Socket;
my ($pause, $asked) = @ARGV;
my ($places, $question, $good) = $asked eq "docker"
	? (["run/docker.sock", "run/user/1001/docker.sock"], "GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n", qr{^HTTP/1\.\d 200 })
	: (["run/user/1001/control.sock"], qq({"kind":"status"}\n), qr{"starting":0\b});
while (1) {
	opendir(my $processes, "/proc");
	PROCESS: for my $pid (grep /^\d/, readdir $processes) {
		for my $place (@$places) {
			my $path = "/proc/$pid/root/$place";
			next unless -S $path;
			socket(my $server, PF_UNIX, SOCK_STREAM, 0) or next;
			connect($server, sockaddr_un($path)) or next;
			syswrite($server, $question);
			sysread($server, my $answer, 4096) or next;
			last PROCESS unless $answer =~ $good; # one question per check
			syswrite(STDOUT, "bench: ready\n");
			exit 0;
		}
	}
	select(undef, undef, undef, $pause);
}
