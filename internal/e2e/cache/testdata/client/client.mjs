import { spawnSync } from 'node:child_process'
// The library speaks to the new cache service only if the server is GitHub's own.
process.env.GITHUB_SERVER_URL = 'https://github.com'
const input = (name) => process.env[`INPUT_${name.toUpperCase()}`] ?? ''
const begun = performance.now()
const took = () => `in ${Math.round(performance.now() - begun)} ms by ${process.env.ACTIONS_RESULTS_URL}`
if (input('operation') === 'run') {
  process.exitCode = spawnSync('bash', ['-euo', 'pipefail', '-c', input('command')], { stdio: 'inherit' }).status
} else {
  const cache = await import(input('library'))
  if (input('operation') === 'save') {
    console.log(`saved ${(await cache.saveCache([input('path')], input('key'))) > 0} ${took()}`)
  } else {
    const others = input('restore').split(',').filter((key) => key !== '')
    console.log(`restored ${await cache.restoreCache([input('path')], input('key'), others)} ${took()}`)
  }
}
