import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { cancelJob, getJob, readLog, submitJob, watchJob } from '@hivesync/contracts/jobs.ts'
import { type Peer, startPeer } from '../sdk/test-support/peer.ts'
import { eventStream, idOf, jobOf, logEvent } from '../sdk/test-support/samples.ts'
import { type CliHome, makeCliHome } from './test-support/run-cli.ts'
import { done, serveEvents, serveEverything } from './test-support/serve-everything.ts'

const time = '2026-01-02T03:04:05.678Z'
const attack = 'a\u001b]0;owned\u0007b\u009b2Jc\u202ed\r\n'

async function openBoth(): Promise<AsyncDisposable & { peer: Peer; home: CliHome; env: Record<string, string> }> {
  const peer = await startPeer()
  const home = await makeCliHome()
  serveEverything(peer)
  return {
    peer,
    home,
    env: { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url },
    async [Symbol.asyncDispose]() {
      await home[Symbol.asyncDispose]()
      await peer[Symbol.asyncDispose]()
    },
  }
}

test('run keeps standard output and standard error apart and ends with the exit code of the command', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  serveEvents(peer, [
    logEvent(0, 'stdout', 'one\n'),
    logEvent(1, 'stderr', 'two'),
    logEvent(2, 'system', '[hivesync] worker says\n'),
    logEvent(3, 'stdout', 'three'),
  ])
  const error = { code: 'x', message: 'exit 7' }
  peer.on(getJob, () => jobOf({ ...done, state: 'failed', result: { exitCode: 7 }, error }))
  const run = await home.run(['run', '--', 'sh'], { env })
  assert.deepEqual(run, { code: 7, stdout: 'one\nthree', stderr: 'two\n[hivesync] worker says\n' })
})

test('what comes after -- is the command, options of ours or not', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const commands: unknown[] = []
  peer.on(submitJob, ({ body }) => {
    commands.push(body.input)
    return jobOf()
  })
  const words = ['ls', '--json', '-q', '--', '--help', '', '-- x']
  await writeFile(join(home.path, 'a.txt'), 'ä\n')
  const options = ['-f', `${join(home.path, 'a.txt')}:in/b.txt`, '-e', 'A==b', '--memory', '1g', '--timeout=2m']
  assert.equal((await home.run(['run', ...options, '--', ...words], { env })).code, 0)
  const limits = { memoryMiB: 1024, wallSeconds: 120 }
  assert.deepEqual(commands, [
    { command: words, files: [{ path: 'in/b.txt', content: 'ä\n' }], env: { A: '=b' }, limits },
  ])
})

test('run ends with 1 when the job failed without an exit code, or in spite of a good one', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const error = { code: 'timeout', message: 'ran out of time' }
  for (const result of [null, { exitCode: null }, { exitCode: 0 }, { exitCode: 700 }]) {
    peer.on(getJob, () => jobOf({ ...done, state: 'failed', result, error }))
    const run = await home.run(['run', '--', 'x'], { env })
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^ {2}error: ran out of time \(timeout\)\n$/)
  }
})

test('a job cannot act on the terminal: escapes are shown, except in output that goes to a file or pipe', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  serveEvents(peer, [logEvent(0, 'stdout', attack), logEvent(1, 'stderr', attack), logEvent(2, 'system', attack)])
  const shown = 'a\\e]0;owned\\x07b\\x9b2Jc\\u202ed\n'
  const onTerminal = await home.run(['run', '--', 'x'], { env, tty: { stdout: true, stderr: true } })
  assert.equal(onTerminal.stdout, shown)
  assert.ok(onTerminal.stderr.endsWith(`${shown}[hivesync] ${shown}`), JSON.stringify(onTerminal.stderr))
  const toPipe = await home.run(['run', '--', 'x'], { env })
  assert.equal(toPipe.stdout, attack)
  assert.equal(toPipe.stderr, `${shown}[hivesync] ${shown}`)
})

test('text of the server is harmless wherever it is shown', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const evil = '\u001b[2J\u009b1m\u202e'
  const input = { repository: evil }
  const job = jobOf({
    input,
    phase: evil,
    message: evil,
    labels: [],
    state: 'running',
    waitingFor: { reason: 'labels', message: evil, fix: evil },
  })
  peer.on(getJob, () => job)
  serveEvents(peer, [['progress', { phase: evil, progress: 3, message: evil }]])
  const commands = [
    ['job', 'get', idOf(5)],
    ['job', 'why', idOf(5)],
    ['job', 'watch', idOf(5)],
    ['job', 'get', idOf(5), '--json'],
  ]
  for (const argv of commands) {
    for (const tty of [{}, { stdout: true, stderr: true }]) {
      const { stdout, stderr } = await home.run(argv, { env, tty })
      for (const text of [stdout, stderr]) {
        assert.ok(
          !text.includes('\u001b[2J') && !text.includes('\u009b') && !text.includes('\u202e'),
          JSON.stringify(text),
        )
      }
    }
  }
})

test('pieces of a log that are missing are said, and a log is read to its end', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const log = [0, 1, 4].map((seq) => ({ seq, attempt: 1, stream: 'stdout' as const, at: time, text: `${seq}\n` }))
  peer.on(readLog, ({ query }) => {
    const after = Number(query.after ?? -1)
    return { items: log.filter(({ seq }) => seq > after).slice(0, 2), nextSeq: 5 }
  })
  const run = await home.run(['job', 'logs', idOf(5)], { env })
  assert.equal(run.stdout, '0\n1\n4\n')
  assert.equal(run.stderr, '[hivesync] 2 pieces of the log are missing here\n')
})

test('output that was dropped is said where it is missing, live and afterwards, and in JSON', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const gap = { seq: 1, attempt: 1, stream: 'stdout' as const, at: time, text: '', gap: { bytes: 4096 } }
  const line = (seq: number) => ({ seq, attempt: 1, stream: 'stdout' as const, at: time, text: `${seq}\n` })
  const items = [line(0), gap, line(2)]
  serveEvents(
    peer,
    items.map((item) => ['log', item] as const),
  )
  peer.on(readLog, ({ query }) => ({ items: query.after === undefined ? items : [], nextSeq: 3 }))
  for (const argv of [
    ['job', 'logs', idOf(5)],
    ['job', 'logs', '-f', idOf(5)],
  ]) {
    const { stdout, stderr } = await home.run(argv, { env })
    assert.deepEqual([stdout, stderr], ['0\n2\n', '[hivesync] 4,096 bytes of stdout are missing here\n'])
  }
  const { stdout } = await home.run(['job', 'logs', idOf(5), '--json'], { env })
  assert.deepEqual(JSON.parse(stdout).items, items)
})

test('where the time of a job went is shown', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const attempt = {
    number: 1,
    startMs: 20,
    totalMs: 4200,
    phases: [
      { phase: 'fetch', ms: 1000 },
      { phase: 'read', ms: 3000 },
    ],
  }
  const timings = {
    queueToStartMs: 1500,
    waitingMs: 61_000,
    totalMs: 70_000,
    attempts: [attempt, { ...attempt, number: 2, phases: [] }],
  }
  peer.on(getJob, () => ({ ...done, timings }))
  const { stdout } = await home.run(['job', 'get', idOf(5)], { env })
  assert.match(stdout, / waited +1 min 01 s\n +attempts +1: 4.2 s \(fetch 1.0 s, read 3.0 s\)\n +2: 4.2 s\n/)
})

test('ingest shows phases as plain lines, and sums up', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const progress = (phase: string, percent: number | null, message: string | null) =>
    ['progress', { phase, progress: percent, message }] as const
  serveEvents(peer, [
    ['state', { state: 'leased', attempt: 1 }],
    progress('fetch', 4, 'Receiving objects'),
    progress('fetch', 7, 'Receiving objects'),
    progress('fetch', 61, 'Receiving objects'),
    progress('index', null, null),
    ['state', { state: 'succeeded' }],
  ])
  const languages = { TypeScript: { files: 1200, bytes: 9 }, Markdown: { files: 40, bytes: 9 } }
  const result = { commit: 'c0ffee', branch: 'main', files: 3214, bytes: 24_100_000, languages }
  peer.on(getJob, () => jobOf({ ...done, kind: 'ingest', result }))
  const run = await home.run(['ingest', 'https://example.org/a.git'], { env })
  assert.equal(run.code, 0)
  const start = `Ingesting https://example.org/a.git into Apollo, job ${idOf(5)}`
  const phases = ['queued', 'starting', 'fetch 4% Receiving objects', 'fetch 61% Receiving objects', 'index']
  assert.deepEqual(run.stderr.trimEnd().split('\n'), [start, ...phases])
  assert.deepEqual(run.stdout.trimEnd().split('\n'), [
    'Ingested https://example.org/a.git',
    '  commit     c0ffee',
    '  branch     main',
    '  files      3,214',
    '  bytes      24.1 MB',
    '  languages  TypeScript 1,200, Markdown 40',
  ])
  const quiet = await home.run(['ingest', 'https://example.org/a.git', '-q'], { env })
  assert.deepEqual([quiet.stderr, quiet.stdout], ['', run.stdout])
})

test('a job that ends badly ends watch and ingest with 1 and its reason', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  const error = { code: 'not_found', message: 'There is no such repository' }
  peer.on(getJob, () => jobOf({ ...done, kind: 'ingest', state: 'failed', result: null, error }))
  for (const argv of [
    ['ingest', 'https://example.org/a.git'],
    ['job', 'watch', idOf(5)],
  ]) {
    const run = await home.run(argv, { env })
    assert.equal(run.code, 1)
    assert.match(run.stdout, /error: There is no such repository \(not_found\)/)
  }
})

/** A job that runs until it is canceled; `onWatch` is called once somebody follows it. */
function serveEndless(peer: Peer, onWatch: () => void): void {
  peer.onRaw(watchJob, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(eventStream([['state', { state: 'running' }]]), onWatch)
  })
  peer.on(getJob, () => jobOf({ state: 'running' }))
}

test('Ctrl-C detaches and says how to come back; the job goes on', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  let interrupt = (): void => {}
  serveEndless(peer, () => interrupt())
  for (const argv of [
    ['job', 'watch', idOf(5)],
    ['run', '--', 'x'],
    ['ingest', 'https://example.org/a'],
  ]) {
    const run = await home.run(argv, { env, onStart: (press) => (interrupt = press) })
    assert.equal(run.code, 130)
    assert.match(run.stderr, new RegExp(`hivesync job watch ${idOf(5)}\n`))
  }
  assert.ok(!peer.seen.some((line) => line.includes('/cancel')))
})

test('a second Ctrl-C, or the first with --cancel-on-interrupt, cancels the job', async () => {
  await using both = await openBoth()
  const { peer, home, env } = both
  let interrupt = (): void => {}
  let canceled = 0
  peer.on(cancelJob, () => {
    canceled++
    return jobOf({ state: 'canceled' })
  })
  serveEndless(peer, () => interrupt())
  const onStart = (press: () => void) => (interrupt = press)
  const once = await home.run(['run', '--cancel-on-interrupt', '--', 'x'], { env, onStart })
  assert.deepEqual([once.code, canceled], [130, 1])
  serveEndless(peer, () => {
    interrupt()
    interrupt()
  })
  const twice = await home.run(['job', 'watch', idOf(5)], { env, onStart, secondInterruptMs: 60_000 })
  assert.deepEqual([twice.code, canceled], [130, 2])
})
