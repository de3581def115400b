// Package ghsim is a stand-in GitHub for tests, the demo and runnerctl sim. It serves the REST
// API around self-hosted runners, and the services that runners use themselves (OAuth, broker,
// run service, results, live log). It uses real HTTP, keeps its state in memory and records
// every request.
//
// It is strict rather than convenient. Unauthenticated calls get 401. Tokens expire and have
// permissions. A name in use gets 409. A busy runner is not deleted (422). A runner has one
// session (409). A job goes only to a runner with all its labels. An ephemeral runner vanishes
// with its job, and stays listed as busy for a moment before. The requests of runners are
// compared with the source of GitHub's own runner (wire.go): a request with an unknown or a
// missing field is refused, and Requests names the field.
//
//	s, err := ghsim.Start(ghsim.Options{RunnerAddress: "172.17.0.1:0"}) // containers reach a bridge's address
//	defer s.Close()
//	target := s.URL + "/acme/api"                 // or /acme, /enterprises/big: these exist from the start
//	pem := s.CA()                                 // clients of s.URL must trust it
//	token := s.ClassicToken(time.Hour, "repo", "admin:org")
//	id, err := s.Queue(job)                       // ghsim.ParseJobs reads a small workflow
//	result, err := s.Wait(ctx, id)                // conclusion, times, logs of the steps
//
// Further methods: FineGrainedToken, App and Install; AddRepository (Public, Private),
// AddEnterprise, AddGroup; WaitOnline, Runners, Jobs, Cancel, Requests; Inject (latency,
// status, HTML, dropped before or after the effect, Retry-After), SecondaryLimit, BadGateway,
// SetRateLimit, SetClockOffset; RefreshToken and RefreshConfig, which are GitHub's orders to a
// runner between jobs.
//
// The API is at s.URL/api/v3/ and at s.URL/ itself. A JIT configuration sends runners to
// s.RunnerURL, which is plain HTTP unless Options.RunnerTLS declares that they know the CA. A
// runner that is configured with a registration token uses s.URL.
//
// Not imitated: actions of other repositories and caches, which are refused in GitHub's form;
// needs; the older (V1) message queue.
package ghsim
