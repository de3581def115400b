//go:build linux

package compatibility

// agentInputs are habits of GitHub and its agent that runners must cope with.
var agentInputs = []input{
	{
		ID: "stop-idle", Group: "GitHub's agent", Input: "docker stop of an idle runner", Result: outcomePasses,
		Note: "SIGINT, at once, code 0; SIGTERM would make the code depend on timing", Test: "TestAgentIsStoppedFirst",
	},
	{
		ID: "stop-busy", Group: "GitHub's agent", Input: "docker stop of a runner whose step ignores signals", Result: outcomePasses,
		Note: "30 s for the job, then it is cancelled; its last steps run; within 80 s", Test: "TestStopCancelsAJob",
	},
	{
		ID: "registration-deleted", Group: "GitHub's agent", Input: "a runner is removed in GitHub's settings", Result: outcomePasses,
		Note: "code 77; `up` or the supervisor creates another runner", Test: "TestRegistrationDeletedAtGitHub",
	},
	{
		ID: "refresh-config", Group: "GitHub's agent", Input: "RunnerRefreshConfig: .runner_migrated, .credentials_migrated", Result: outcomePasses,
		Note: "kept over restarts, removed before another registration", Test: "TestAgentWhoseRegistrationChanges",
	},
	{
		ID: "notices-late", Group: "GitHub's agent", Input: "a crash: DELETE answers 422 for 90 s", Result: outcomePasses,
		Note: "`down` waits 100 s, then names the registration", Test: "TestGitHubNoticesLate",
	},
	{
		ID: "code-2", Group: "GitHub's agent", Input: "GitHub can't be reached for ten minutes: code 2", Result: outcomePasses,
		Note: "restarted after 5 s; the runner ends with the fifth end within a minute of a start", Test: "TestAgentStartsAgainAfterCode2",
	},
	{
		ID: "too-old-to-register", Group: "GitHub's agent", Input: "configure of an agent that GitHub no longer accepts: code 1", Result: outcomePasses,
		Note: "the deprecation date is requested from GitHub, and the image is rebuilt", Test: "TestAgentTooOldToRegister",
	},
	{
		ID: "secondary-limits", Group: "GitHub's agent", Input: "secondary rate limits while runners register", Result: outcomePasses,
		Note: "runnerctl waits; GitHub does not document whether registrations count as content", Test: "TestUpThroughFaults",
	},
	{
		ID: "no-digest", Group: "GitHub's agent", Input: "a download without sha256_checksum", Result: outcomePasses,
		Note: "the digest comes from the release or its notes", Test: "TestDownloadsWithoutDigests",
	},
	{
		ID: "libssl", Group: "GitHub's agent", Input: "a job root filesystem with libssl3 and libssl4", Result: outcomePasses,
		Note: ".NET 8 opens only 3 and 1.1", Test: "TestLibrariesOfTheAgent",
	},
	{
		ID: "code-6", Group: "GitHub's agent", Input: "verdicts: code 6, 137 with and without memory, 70", Result: outcomePasses, Test: "TestVerdict",
	},
	{
		ID: "labels-case", Group: "GitHub's agent", Input: "labels: [GPU]", Result: outcomePasses, Note: "GitHub lists labels in lower case", Test: "TestFleetWithGitHub",
	},
	{
		ID: "group-gone", Group: "GitHub's agent", Input: "a runner group that is gone: 403 or 404", Result: outcomeRefused,
		Note: "the hint names runners.group and the token's rights", Test: "TestGroupThatIsGone",
	},
	{
		ID: "no-proxy-address", Group: "GitHub's agent", Input: "no_proxy=10.0.0.7", Result: outcomeOfHost,
		Note: "GitHub's agent uses only names ([image.md](image.md)); the daemon and curl also use addresses", Test: "TestEnvironmentContractRunsJob",
	},
	{
		ID: "extra-ca-in-container", Group: "GitHub's agent", Input: "NODE_EXTRA_CA_CERTS in a container: job", Result: outcomeOfHost,
		Note: "the variable does not reach the container: the image must contain the certificate ([image.md](image.md))", Test: "TestEnterpriseServerWithItsOwnCA",
	},
	{
		ID: "alone-again", Group: "GitHub's agent", Input: "the image alone, --restart always, a listener that fails", Result: outcomePasses,
		Note: "the name stays the same, and the pauses get longer", Test: "TestImageAloneStartsAgainSlowly",
	},
	{
		ID: "transcript", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "each request of a job in order, with the fields of actions/runner", Result: outcomePasses, Test: "TestTranscriptOfGitHubsRunner",
	},
	{
		ID: "transcript-strict", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "a request with a field more or less", Result: outcomeRefused,
		Note: "400, and the record names the field", Test: "TestTranscriptIsHeldStrictly",
	},
	{
		ID: "transcript-ours", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "a job of the test agent", Result: outcomePasses, Note: "the same comparison", Test: "TestAgentKeepsToTheTranscript",
	},
	{
		ID: "artifacts", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "upload-artifact@v4, download-artifact@v4: their requests", Result: outcomePasses, Test: "TestArtifacts",
	},
	{
		ID: "identity", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "permissions: {id-token: write}", Result: outcomePasses, Test: "TestIdentityOfJob",
	},
	{
		ID: "orders", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "ForceTokenRefresh, RunnerRefreshConfig", Result: outcomePasses, Test: "TestOrders",
	},
	{
		ID: "local-actions", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "uses: ./FOLDER", Result: outcomePasses, Note: "composite actions and Node actions", Test: "TestLocalActions",
	},
	{
		ID: "remote-actions", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "uses: actions/checkout@v4", Result: outcomeRefused,
		Note: "the stand-in has no repositories, and answers as GitHub does for a missing action", Test: "TestActionsThatAreNotThere",
	},
	{
		ID: "caches", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "actions/cache", Result: outcomeRefused,
		Note: "501: the stand-in keeps no caches; actions continue without a cache", Test: "TestArtifacts",
	},
}
