import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseWorkerConfig, WorkerConfigError } from './config.ts'
import { makeTestFolder } from './test-support/enrolled-client.ts'

const server = { HIVESYNC_WORKER_SERVER: 'https://hive.example.net' }

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    parseWorkerConfig({ ...server, ...env })
  } catch (error) {
    assert.ok(error instanceof WorkerConfigError)
    return error.problems
  }
  return []
}

test('the server alone is enough; everything else has a default', () => {
  const config = parseWorkerConfig({ ...server, HOME: '/x' })
  assert.equal(config.server, 'https://hive.example.net')
  assert.match(config.dataDir, /\/data\/worker$/)
  assert.ok(config.slots >= 1)
  assert.deepEqual([config.labels, config.allowHosts, config.enrolmentToken], [[], [], null])
  assert.ok(Object.isFrozen(config))
})

test('every problem is in one report, and none repeats the token', () => {
  const problems = problemsOf({
    HIVESYNC_WORKER_SERVER: 'http://hive.example.net/path',
    HIVESYNC_WORKER_SLOT: '2',
    HIVESYNC_WORKER_SLOTS: '0',
    HIVESYNC_WORKER_LABELS: 'GPU',
    HIVESYNC_WORKER_LOCAL_REPOS: 'relative',
    HIVESYNC_WORKER_PRIVATE_HOSTS: 'git.example.lan',
    HIVESYNC_WORKER_ALLOW_HOSTS: 'https://github.com',
    HIVESYNC_WORKER_CGROUPS: '{"memory":1}',
    HIVESYNC_WORKER_CA_FILE: '/nonexistent/ca.pem',
    HIVESYNC_WORKER_TOKEN: 'secret-token',
    HIVESYNC_WORKER_TOKEN_FILE: '/nonexistent/token',
  })
  assert.equal(problems.length, 11)
  assert.ok(!problems.join().includes('secret-token'))
})

test('there are at most as many slots as the sandbox has users for', () => {
  const problems = (slots: string) =>
    problemsOf({ HIVESYNC_WORKER_SERVER: 'https://hive.example.net', HIVESYNC_WORKER_SLOTS: slots })
  assert.deepEqual(problems('128'), [])
  assert.match(problems('129').join(), /1 to 128/)
})

test('it drains for 30 s and never ends by itself unless told, and neither for longer than a day', () => {
  const server = { HIVESYNC_WORKER_SERVER: 'https://hive.example.net' }
  const { drainMs, exitWhenIdleMs } = parseWorkerConfig(server)
  assert.deepEqual([drainMs, exitWhenIdleMs], [30_000, null])
  const told = { ...server, HIVESYNC_WORKER_DRAIN_SECONDS: '0', HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '86400' }
  assert.deepEqual([parseWorkerConfig(told).drainMs, parseWorkerConfig(told).exitWhenIdleMs], [0, 86_400_000])
  for (const value of ['86401', '-1', '1.5', 'soon'])
    for (const name of ['DRAIN_SECONDS', 'EXIT_WHEN_IDLE_SECONDS'])
      assert.throws(() => parseWorkerConfig({ ...server, [`HIVESYNC_WORKER_${name}`]: value }), new RegExp(name))
  assert.throws(() => parseWorkerConfig({ ...server, HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '0' }), WorkerConfigError)
})

test('plain http is for this machine only', () => {
  for (const origin of ['http://127.0.0.1:7070', 'http://localhost:7070', 'http://[::1]:7070']) {
    assert.deepEqual(problemsOf({ HIVESYNC_WORKER_SERVER: origin }), [], origin)
  }
  for (const origin of ['http://10.0.0.1', 'http://127.example.net', 'ftp://127.0.0.1', 'nonsense']) {
    assert.equal(problemsOf({ HIVESYNC_WORKER_SERVER: origin }).length, 1, origin)
  }
})

test('a token file must not be readable by everybody, and may be gone after the first start', async (t) => {
  const path = join(await makeTestFolder(t), 'token')
  assert.deepEqual(problemsOf({ HIVESYNC_WORKER_TOKEN_FILE: path }), [])
  await writeFile(path, ' the-token\n', { mode: 0o600 })
  assert.equal(parseWorkerConfig({ ...server, HIVESYNC_WORKER_TOKEN_FILE: path }).enrolmentToken, 'the-token')
  await chmod(path, 0o644)
  assert.match(problemsOf({ HIVESYNC_WORKER_TOKEN_FILE: path })[0] ?? '', /everybody/)
})

test('lists and control groups are read as they are written', () => {
  const config = parseWorkerConfig({
    ...server,
    HIVESYNC_WORKER_LABELS: 'gpu, region:eu',
    HIVESYNC_WORKER_ALLOW_HOSTS: 'GitHub.com,git.example.net:8443',
    HIVESYNC_WORKER_CGROUPS: '{"memory":"/sys/fs/cgroup/memory/hive"}',
  })
  assert.deepEqual(config.labels, ['gpu', 'region:eu'])
  assert.deepEqual(config.allowHosts, ['github.com', 'git.example.net:8443'])
  assert.deepEqual(config.cgroups, { memory: '/sys/fs/cgroup/memory/hive' })
})

test('a GPU is given to jobs only where it is named, and what is named must be one', () => {
  const { gpus, gpuMaxMs } = parseWorkerConfig(server)
  assert.deepEqual([gpus, gpuMaxMs], [[], 3_600_000])
  const problems = problemsOf({ HIVESYNC_WORKER_GPUS: '/dev/null, all', HIVESYNC_WORKER_GPU_MAX_SECONDS: '0' })
  assert.equal(problems.length, 3)
  assert.match(problems.join('\n'), /GPUS names \/dev\/null, which is no GPU here; there are: /)
  assert.equal(parseWorkerConfig({ ...server, HIVESYNC_WORKER_GPU_MAX_SECONDS: '60' }).gpuMaxMs, 60_000)
})
