import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { isReceiptOf } from '@hivesync/protocol/receipt.ts'
import { systemClock } from '../clock.ts'
import { createSha256, systemRandom } from '../enrol/random.ts'
import { defaultIngestSettings } from '../fetch/ingest-settings.ts'
import { makeRepository } from '../fetch/test-support/git-repository.ts'
import { runHeartbeat } from '../report/heartbeat.ts'
import { createLeases } from '../report/leases.ts'
import { type OutboxRecord, openOutbox } from '../report/outbox.ts'
import { openSandbox } from '../sandbox/sandbox.ts'
import type { Sandbox } from '../sandbox/spec.ts'
import type { Lease } from '../test-support/contract-server.ts'
import { makeTestFolder, openEnrolled } from '../test-support/enrolled-client.ts'
import { verifiedReceipt } from '../test-support/file-peer.ts'
import { findNodeMount } from './node-mount.ts'
import { runJob } from './run-job.ts'

// Real bubblewrap, real git; the server is a real peer that speaks the contract.
let sandbox: Sandbox
before(async () => {
  sandbox = await openSandbox({ slots: 2 })
})
after(() => sandbox.close())

async function openRunner(t: TestContext, options: { withSandbox?: boolean; localRepos?: string[] } = {}) {
  const enrolled = await openEnrolled(t)
  const { server, client, log } = enrolled
  const dataDir = await makeTestFolder(t)
  const leases = createLeases({ clock: systemClock, log })
  const parts = { client, log, clock: systemClock, random: systemRandom }
  const outbox = await openOutbox({ ...parts, dataDir })
  const stop = new AbortController()
  const beating = runHeartbeat({ ...parts, leases, undelivered: outbox.tokens, signal: stop.signal })
  const settings = { ...defaultIngestSettings, localRepos: options.localRepos ?? [] }
  const place = options.withSandbox === false ? undefined : { sandbox, nodeMount: findNodeMount(sandbox.node) }
  const run = (lease: Lease) =>
    runJob(
      {
        ...{ ...parts, leases, outbox, createDigest: createSha256, findSandbox: () => place },
        ingest: { dataDir, allowHosts: [], settings },
      },
      lease.claim,
    )
  /** Runs a job until the server has its end. */
  const complete = async (lease: Lease) => {
    await run(lease)
    return await server.until(() => lease.completion)
  }
  t.after(async () => {
    stop.abort()
    await outbox.close()
    await beating
  })
  return { ...enrolled, leases, outbox, run, complete }
}
const outputsOf = (completion: OutboxRecord['completion']) =>
  (completion.result?.outputs ?? []) as Record<string, unknown>[]
const shell = (script: string) => ({ command: ['/bin/sh', '-c', script] })

test('a command finds its files, may write beside them, and its log, exit code and results come back', async (t) => {
  const { server, complete } = await openRunner(t)
  const lease = server.submit('compute', {
    ...shell(
      'cat in/a.txt; echo "$NAME" >&2; echo 1 > in/b; printf hello > out/result; if read x; then exit 9; fi; exit 3',
    ),
    files: [{ path: 'in/a.txt', content: 'héllo\n' }],
    env: { NAME: 'from env' },
  })
  const completion = await complete(lease)
  assert.deepEqual(
    [completion.outcome, completion.error?.code, completion.result?.exitCode],
    ['failed', 'exit_code', 3],
  )
  const sha256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'
  const { artifactId, ...output } = outputsOf(completion)[0] ?? {}
  assert.deepEqual(output, { path: 'result', bytes: 5, sha256 })
  assert.equal(lease.artifacts.get(String(artifactId))?.content?.toString(), 'hello')
  assert.ok(
    isReceiptOf(verifiedReceipt(server, lease), { ...lease.claim, workerId: [...server.workers.keys()][0] ?? '' }),
  )
  assert.deepEqual([server.text(lease, 'stdout'), server.text(lease, 'stderr')], ['héllo\n', 'from env\n'])
  assert.deepEqual(lease.progress, [{ phase: 'run' }, { phase: 'upload' }])
  assert.ok(lease.started)
})

test('a job can run node', async (t) => {
  const { server, complete } = await openRunner(t)
  const lease = server.submit('compute', { command: ['node', '-p', '6*7'] })
  assert.equal((await complete(lease)).outcome, 'succeeded')
  assert.equal(server.text(lease), '42\n')
})

test('two jobs run side by side', async (t) => {
  const { server, complete } = await openRunner(t)
  const jobs = [0, 1].map(() => server.submit('compute', shell('echo begun; sleep 600')))
  const ended = Promise.all(jobs.map(complete))
  await server.until(() => jobs.every((job) => server.text(job) === 'begun\n'))
  for (const job of jobs) job.verdict = 'cancel'
  assert.deepEqual(
    (await ended).map(({ outcome }) => outcome),
    ['canceled', 'canceled'],
  )
})

test('a lost lease kills the job and nothing is reported', async (t) => {
  const { server, run, outbox, leases } = await openRunner(t)
  const lease = server.submit('compute', shell('echo begun; sleep 600'))
  const ended = run(lease)
  await server.until(() => server.text(lease) === 'begun\n')
  lease.verdict = 'lost'
  await ended
  assert.deepEqual([lease.completions, outbox.size, leases.size], [0, 0, 0])
})

test('when the server falls silent the job is killed before its lease can be given away, and returned later', async (t) => {
  const { server, complete, logged } = await openRunner(t)
  const lease = server.submit('compute', shell('echo begun; sleep 600'), { leaseTtlSeconds: 2 })
  const ended = complete(lease)
  await server.until(() => server.text(lease) === 'begun\n')
  server.intercept = () => 'hang up'
  await logged('lease_fenced')
  await logged('job_ended')
  server.intercept = undefined
  const { outcome, error, infrastructure } = await ended
  assert.deepEqual([outcome, error?.code, infrastructure], ['returned', 'server_silent', true])
})

test('a job that prints without end is ended at its limit and the log says so', async (t) => {
  const { server, complete } = await openRunner(t)
  const lease = server.submit('compute', { command: ['yes'], limits: { outputKiB: 300 } })
  const { error, result } = await complete(lease)
  assert.deepEqual([error?.code, result?.killed], ['limit_output', 'output'])
  assert.equal(server.text(lease, 'stdout').length, 300 * 1024)
  assert.match(server.text(lease, 'system'), /printed more than it may/)
})

test('a secret at the very end of what a job may print is not shown, though its rest was never read', async (t) => {
  const { server, complete } = await openRunner(t)
  const fill = 'head -c $((300 * 1024 - 9)) /dev/zero | tr "\\0" x; cat /run/secrets/TOKEN; yes'
  const input = { ...shell(fill), secretNames: ['TOKEN'], limits: { outputKiB: 300 } }
  const lease = server.submit('compute', input, { secrets: { TOKEN: 'sesame-open' } })
  assert.equal((await complete(lease)).error?.code, 'limit_output')
  const printed = server.text(lease, 'stdout')
  assert.equal(printed.replace(/^x+/, ''), '[redacted]')
  assert.equal(printed.length, 300 * 1024 - 9 + '[redacted]'.length)
})

test('a job cannot forge the list of its results through the archive', async (t) => {
  const { server, complete } = await openRunner(t)
  const script = 'ln -s /etc/passwd out/link; printf x > out/real; echo forged >&3 || true'
  const { outcome, result } = await complete(server.submit('compute', shell(script)))
  const outputs = result?.outputs as { path: string }[]
  assert.deepEqual([outcome, outputs.map(({ path }) => path), result?.outputsSkipped], ['succeeded', ['real'], 1])
})

test('an input outside the contract fails the job without running anything', async (t) => {
  const { server, complete } = await openRunner(t)
  const lease = server.submit('compute', { ...shell('echo ran'), files: [{ path: '../../etc/cron.d/x', content: '' }] })
  assert.equal((await complete(lease)).error?.code, 'invalid_input')
  assert.deepEqual(lease.log, [])
})

test('a machine without sandbox gives jobs back unstarted, loudly', async (t) => {
  const { server, complete, events } = await openRunner(t, { withSandbox: false })
  const lease = server.submit('compute', shell('true'))
  const { outcome, error } = await complete(lease)
  assert.deepEqual([outcome, error?.code, lease.started], ['returned', 'no_sandbox', false])
  assert.ok(events.some(({ event, level }) => event === 'job_refused' && level === 'error'))
})

test('a lease that is lost before it begins is let go', async (t) => {
  const { server, run, leases } = await openRunner(t)
  const lease = server.submit('compute', shell('true'))
  lease.verdict = 'lost'
  await run(lease)
  assert.deepEqual([lease.completions, leases.size, server.requests.length], [0, 0, 1])
})

test('a repository is fetched and its text uploaded before the job completes', async (t) => {
  const folder = await makeTestFolder(t)
  const path = join(folder, 'repositories', 'small.git')
  await mkdir(join(folder, 'repositories'))
  const repository = await makeRepository(path)
  await repository.commitFiles({ 'src/main.ts': 'export const answer = 42\n', 'README.md': '# small\n' })
  const { server, complete } = await openRunner(t, { localRepos: [join(folder, 'repositories')] })
  const lease = server.submit('ingest', { repository: `file://${path}` })
  const { outcome, result } = await complete(lease)
  assert.deepEqual([outcome, result?.branch, result?.files], ['succeeded', 'main', 2])
  assert.deepEqual(lease.files.map((file) => file.path).sort(), ['README.md', 'src/main.ts'])
  assert.deepEqual([...new Set(lease.progress.map((step) => step.phase))], ['resolve', 'fetch', 'read', 'index'])
  const order = server.requests.map((seen) => seen.operation)
  assert.ok(order.indexOf('uploadIndex') < order.indexOf('completeLease'))
})

test('a repository this worker may not fetch fails the job with the reason', async (t) => {
  const { server, complete } = await openRunner(t)
  for (const repository of [
    'https://127.0.0.1/a.git',
    'https://github.com:8443/a/b',
    'file:///etc',
    'ext::sh -c true',
  ]) {
    const { outcome, error, infrastructure } = await complete(server.submit('ingest', { repository }))
    assert.deepEqual([outcome, infrastructure], ['failed', undefined], repository)
    assert.ok(error?.code === 'repository_refused' || error?.code === 'host_refused', `${repository}: ${error?.code}`)
  }
})
