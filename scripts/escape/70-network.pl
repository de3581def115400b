use strict;
use warnings;
use Escape;
use Socket;

# reach tries a port of a canary with TOKEN at addresses.
sub reach {
	my ($token, $port, @addresses) = @_;
	return not_attempted("no canary") if !$port;
	my @reasons;
	for my $address (grep { defined } @addresses) {
		my ($there, $reason) = answers(PF_INET, pack_sockaddr_in($port, inet_aton($address)), $token);
		return escaped("$address:$port answers") if $there;
		push @reasons, "$address: $reason";
	}
	return blocked(join ", ", @reasons);
}

# The address that slirp4netns and pasta use for localhost on their own side.
my $host = "169.254.213.2";

attempt "host-loopback", "a service of the host that listens on localhost only",
	"databases and tools that trust localhost would trust jobs", sub { reach(@given{ "token", "loopback" }, "127.0.0.1", $host, $given{gateway}) };

attempt "outer-loopback", "a service on localhost of the runner's outer network",
	"jobs could use services of the runner itself", sub { reach(@given{ "outer", "outerloopback" }, "127.0.0.1", $host, $given{gateway}) };

attempt "other-loopback", "a service on localhost of another runner's machine",
	"jobs of one runner could use local services of another runner", sub { reach(@given{ "token", "otherloopback" }, $given{neighbour}, "127.0.0.1", $host) };

attempt "other-listener", "a port on which another runner's machine listens",
	"jobs of one runner could use services of another runner", sub { reach(@given{ "token", "port" }, $given{neighbour}, "127.0.0.1", $host) };

attempt "other-port", "a port that a container of another runner publishes",
	"jobs of one runner could use containers of another runner", sub { reach(@given{ "token", "published" }, $given{neighbour}, "127.0.0.1", $host, $given{gateway}) };
1;
