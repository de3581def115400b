use strict;
use warnings;
use Escape;
use Socket;

# reach tries a port at addresses.
sub reach {
	my ($port, @addresses) = @_;
	my @reasons;
	for my $address (@addresses) {
		my ($there, $reason) = answers(PF_INET, pack_sockaddr_in($port, inet_aton($address)));
		return escaped("$address:$port answers") if $there;
		push @reasons, "$address: $reason";
	}
	return blocked(join ", ", @reasons);
}

attempt "host-loopback", "a service of the host that listens on localhost only",
	"databases and tools that trust localhost would trust jobs", sub {
	return not_attempted("no canary on the host") if !$given{loopback};
	return reach($given{loopback}, "127.0.0.1", "10.0.2.2", $given{gateway} || ());
};

attempt "other-port", "a port that another runner publishes",
	"jobs of one runner could use another's services", sub {
	return not_attempted("no canary") if !$given{port};
	return reach($given{port}, $given{neighbour}, "127.0.0.1");
};
1;
