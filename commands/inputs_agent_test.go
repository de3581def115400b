//go:build linux

package commands

// agentInputs are habits of GitHub and its agent that runners must cope with.
var agentInputs = []input{
	{
		ID: "stop-idle", Group: "GitHub's agent", Input: "docker stop of an idle runner", Result: outcomePasses,
		Note: "SIGINT, at once, code 0; SIGTERM would make a race of the code", Test: "TestAgentIsStoppedFirst",
	},
	{
		ID: "stop-busy", Group: "GitHub's agent", Input: "docker stop of a runner whose step ignores signals", Result: outcomePasses,
		Note: "30 s for the job, then it is cancelled; its last steps run; within 80 s", Test: "TestStopCancelsAJob",
	},
	{
		ID: "registration-deleted", Group: "GitHub's agent", Input: "a runner is removed in GitHub's settings", Result: outcomePasses,
		Note: "code 77; `up` or the supervisor makes another runner", Test: "TestRegistrationDeletedAtGitHub",
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
		Note: "started again after 5 s; a fifth end within a minute of its start is the runner's", Test: "TestAgentStartsAgainAfterCode2",
	},
	{
		ID: "too-old-to-register", Group: "GitHub's agent", Input: "configure of an agent that GitHub takes no more: code 1", Result: outcomePasses,
		Note: "GitHub is asked for the day, and the image is built again", Test: "TestAgentTooOldToRegister",
	},
	{
		ID: "secondary-limits", Group: "GitHub's agent", Input: "secondary rate limits while runners register", Result: outcomePasses,
		Note: "waited for; GitHub does not say whether registrations count as content", Test: "TestUpThroughFaults",
	},
	{
		ID: "no-digest", Group: "GitHub's agent", Input: "a download without sha256_checksum", Result: outcomePasses,
		Note: "the release's digest, or its notes'", Test: "TestDownloadsWithoutDigests",
	},
	{
		ID: "libssl", Group: "GitHub's agent", Input: "a world with libssl3 and libssl4", Result: outcomePasses,
		Note: ".NET 8 opens 3 and 1.1 only", Test: "TestLibrariesOfTheAgent",
	},
	{
		ID: "code-6", Group: "GitHub's agent", Input: "verdicts: code 6, 137 with and without memory, 70", Result: outcomePasses, Test: "TestVerdict",
	},
	{
		ID: "labels-case", Group: "GitHub's agent", Input: "labels: [GPU]", Result: outcomePasses, Note: "GitHub lists them in small letters", Test: "TestFleetWithGitHub",
	},
	{
		ID: "group-gone", Group: "GitHub's agent", Input: "a runner group that is gone: 403 or 404", Result: outcomeRefused,
		Note: "the hint names runners.group and the token's rights", Test: "TestGroupThatIsGone",
	},
	{
		ID: "no-proxy-address", Group: "GitHub's agent", Input: "no_proxy=10.0.0.7", Result: outcomeOfHost,
		Note: "GitHub's agent heeds names only ([image.md](image.md)); the daemon and curl heed addresses too", Test: "TestEnvironmentContractRunsJob",
	},
	{
		ID: "extra-ca-in-container", Group: "GitHub's agent", Input: "NODE_EXTRA_CA_CERTS in a container: job", Result: outcomeOfHost,
		Note: "it does not get there: the image brings its certificate ([image.md](image.md))", Test: "TestEnterpriseServerWithItsOwnCA",
	},
	{
		ID: "alone-again", Group: "GitHub's agent", Input: "the image alone, --restart always, a listener that fails", Result: outcomePasses,
		Note: "one name, and ever longer pauses", Test: "TestImageAloneStartsAgainSlowly",
	},
	{
		ID: "transcript", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "each request of a job in order, with the fields of actions/runner", Result: outcomePasses, Test: "TestTranscriptOfGitHubsRunner",
	},
	{
		ID: "transcript-strict", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "a request with a field more or less", Result: outcomeRefused,
		Note: "400, and the record names the field", Test: "TestTranscriptIsHeldStrictly",
	},
	{
		ID: "transcript-ours", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "a job of the test agent", Result: outcomePasses, Note: "held to the same", Test: "TestAgentKeepsToTheTranscript",
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
		ID: "local-actions", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "uses: ./FOLDER", Result: outcomePasses, Note: "composite actions and those of node", Test: "TestLocalActions",
	},
	{
		ID: "remote-actions", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "uses: actions/checkout@v4", Result: outcomeRefused,
		Note: "the stand-in has no repositories, and says so as GitHub says of an action that is not there", Test: "TestActionsThatAreNotThere",
	},
	{
		ID: "caches", Group: "The stand-in GitHub, as GitHub's runner sees it", Input: "actions/cache", Result: outcomeRefused,
		Note: "501: the stand-in keeps no caches; actions go on without", Test: "TestArtifacts",
	},
}
