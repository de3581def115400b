// Package ghsim is a stand-in GitHub for tests, the demo and runnerctl sim: the
// REST API around self-hosted runners, and what runners themselves speak (OAuth,
// broker, run service, results, live log). Real HTTP, state in memory, every
// request recorded. It is strict rather than convenient: unauthenticated calls
// get 401, tokens expire and have permissions, a name in use gets 409, a busy
// runner is not deleted (422), a runner has one session (409), a job goes only
// to a runner with all its labels, an ephemeral runner vanishes with its job, and
// lingers as a busy one for a moment before. Requests of runners are compared with the
// source of GitHub's own (wire.go): a field more or less is refused, and Requests names it.
//
//	s, err := ghsim.Start(ghsim.Options{RunnerAddress: "172.17.0.1:0"}) // a bridge's address reaches containers
//	defer s.Close()
//	target := s.URL + "/acme/api"                 // or /acme, /enterprises/big: these are there at first
//	pem := s.CA()                                 // what clients of s.URL must trust
//	token := s.ClassicToken(time.Hour, "repo", "admin:org")
//	id, err := s.Queue(job)                       // ghsim.ParseJobs reads a small workflow
//	result, err := s.Wait(ctx, id)                // conclusion, times, logs of the steps
//
// Further: FineGrainedToken, App and Install; AddRepository (Public, Private),
// AddEnterprise, AddGroup; WaitOnline, Runners, Jobs, Cancel, Requests; Inject
// (latency, status, HTML, dropped before or after the effect, Retry-After),
// SecondaryLimit, BadGateway, SetRateLimit, SetClockOffset; RefreshToken and
// RefreshConfig, GitHub's orders to a runner between jobs.
//
// The API is at s.URL/api/v3/ and at s.URL/ itself. Runners get s.RunnerURL,
// plain HTTP, in their JIT configuration, unless Options.RunnerTLS says that they
// know the CA; one that is configured by a registration token comes to s.URL.
//
// Not imitated: actions of other repositories and caches, which are refused
// in GitHub's form, needs, and the older (V1) message queue.
package ghsim
