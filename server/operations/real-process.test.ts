// The real process, with its log in a file and its metrics on a port of their own.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { readMetrics } from '../../test/harness/metrics.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-process-'))
const logFile = join(folder, 'logs', 'server.log')
let child: ChildProcess | undefined
after(() => {
  child?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

interface Line {
  event: string
  url?: string
}
const linesOf = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

/** Asks until the log says so: what the process writes, it writes within a moment. */
async function logged(path: string, event: string): Promise<Line> {
  for (;;) {
    const found = existing(path).find((line) => line.event === event)
    if (found !== undefined) return found
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function existing(path: string): Line[] {
  try {
    return linesOf(path)
  } catch {
    // Not there yet, or half a line.
    return []
  }
}

test('a server logs to its file and opens it anew at SIGHUP, which does not end it, and shows its metrics beside', async () => {
  const script = `import { serveCommand } from './server/commands/serve.ts'; process.exitCode = await serveCommand([])`
  child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: join(import.meta.dirname, '..', '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      HIVESYNC_PORT: '0',
      HIVESYNC_DATA: join(folder, 'data'),
      HIVESYNC_SETUP_TOKEN: generateSecret(),
      HIVESYNC_LOG_FILE: logFile,
      HIVESYNC_METRICS_PORT: '0',
    },
  })
  const ended = once(child, 'close')
  assert.ok(child.stdout)
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  const { url } = JSON.parse(String(line))
  assert.equal(statSync(logFile).mode & 0o777, 0o600)

  const served = await logged(logFile, 'metrics_served')
  assert.match(served.url ?? '', /^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
  const figures = readMetrics(await (await fetch(served.url ?? '')).text())
  assert.equal(figures.get('hivesync_task_interval_seconds{task="reap_leases"}'), 1)
  assert.equal(figures.get('hivesync_dependency_up{dependency="database"}'), 1)
  assert.equal((await fetch(`${url}/metrics`)).status, 401)

  await logged(logFile, 'request')
  renameSync(logFile, `${logFile}.moved`)
  child.kill('SIGHUP')
  // Until the process has heard of it, requests are logged where the file went.
  while (existing(logFile).length === 0) assert.equal((await fetch(`${url}/health`)).status, 200)
  child.kill('SIGTERM')
  assert.deepEqual(await ended, [0, null])
  const events = linesOf(logFile).map(({ event }) => event)
  assert.deepEqual(events.slice(-2), ['stopping', 'stopped'])
})
