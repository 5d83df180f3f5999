import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { createSha256 } from '../enrol/random.ts'
import { countEgressRefusals } from '../fetch/egress-refusals.ts'
import { makeJobFolder, makeOutputFolder } from '../job-folder.ts'
import { openSandbox } from '../sandbox/sandbox.ts'
import type { Sandbox } from '../sandbox/spec.ts'
import { testId } from '../test-support/contract-request.ts'
import { makeTestFolder } from '../test-support/enrolled-client.ts'
import { startRegistry, type TestPackage } from '../test-support/npm-registry.ts'
import { runCompute } from './compute.ts'
import { findNodeMount } from './node-mount.ts'
import { findNpm } from './npm.ts'
import { openRunRecord } from './run-record.ts'

// Real npm in real bubblewrap, against a real registry on loopback that the operator has named as private.
let sandbox: Sandbox
before(async () => {
  sandbox = await openSandbox({ slots: 2 })
})
after(() => sandbox.close())

const greeter: TestPackage = {
  name: 'greeter',
  manifest: { bin: { greet: 'index.js' }, scripts: { postinstall: 'echo ran > /job/ran; exit 7' } },
  files: {
    'index.js': '#!/usr/bin/env node\nmodule.exports = "hello"\nif (require.main === module) console.log("hi")\n',
  },
}
/** Text of which no packing makes much less. */
function noise(length: number): string {
  let state = 1
  return Array.from({ length }, () => {
    state = (state * 48_271) % 2_147_483_647 // Park and Miller, 1988
    return String.fromCharCode(33 + (state % 90))
  }).join('')
}
const bulky: TestPackage = { name: 'bulky', manifest: {}, files: { 'data.txt': noise(400_000) } }
const show = [
  'sh',
  '-c',
  'node -p "require(\'greeter\')"; node_modules/.bin/greet; ls -a; cat .npmrc 2>/dev/null; true',
]

async function openRegistry(t: TestContext) {
  const registry = await startRegistry(await makeTestFolder(t), [greeter, bulky])
  t.after(() => registry[Symbol.asyncDispose]())
  const dataDir = await makeTestFolder(t)
  const run = async (input: Record<string, unknown>, hosts = ['npm.example.test'], claim: Partial<Claim> = {}) => {
    let printed = ''
    const refusals = countEgressRefusals()
    const phases: string[] = []
    const record = openRunRecord(sandbox, 'run')
    const { completion } = await runCompute({
      claim: {
        ...{ token: 7, jobId: testId(7), projectId: testId(1), kind: 'compute', attempt: 1 },
        ...{ leaseTtlSeconds: 60, startWithinSeconds: 30 },
        input: { command: show, install: { manager: 'npm' }, ...input },
        egress: { hosts, maxBytes: 10_000_000, maxSeconds: 600 },
        ...claim,
      },
      record,
      nodeMount: findNodeMount(sandbox.node),
      findNpm: () => findNpm(sandbox.node),
      network: {
        ...{ allowHosts: [], privateHosts: [registry.privateHost], caFile: registry.caFile, resolve: registry.resolve },
      },
      jobLog: {
        write: (_, bytes) => {
          printed += bytes.toString()
        },
        note: () => undefined,
        close: async () => [],
      },
      createDigest: createSha256,
      fetchBundle: () => Promise.reject(new Error('no bundle here')),
      folder: await makeJobFolder(dataDir, 7),
      outputFolder: await makeOutputFolder(dataDir, 7),
      onPhase: (phase) => phases.push(phase),
      onEgress: (decision) => refusals.note(decision),
      signal: new AbortController().signal,
    })
    return { completion, printed, refusals: refusals.list(), phases, summary: record.summary() }
  }
  return { registry, run }
}

test('packages are installed by their lockfile, none of their scripts runs, and the command has them without a network', async (t) => {
  const { registry, run } = await openRegistry(t)
  const network = "node -e \"fetch('https://npm.example.test').catch(() => console.log('no network'))\""
  const secrets = { TOKEN: 'only for the command' }
  const { completion, printed, phases, summary } = await run(
    {
      files: [
        ...registry.project(['greeter']),
        { path: '.npmrc', content: 'ignore-scripts=false\nscript-shell=/bin/sh\n' },
      ],
      command: ['sh', '-c', `${show[2]}; cat /run/secrets/TOKEN; ${network}`],
      secretNames: ['TOKEN'],
      env: { npm_config_ignore_scripts: 'false' },
    },
    undefined,
    { secrets },
  )
  assert.equal(completion.outcome, 'succeeded', `${printed}${JSON.stringify(completion)}`)
  for (const said of ['hello\n', 'hi\n', 'only for the command', 'no network', 'ignore-scripts=false'])
    assert.ok(printed.includes(said), `${said} not in ${printed}`)
  assert.ok(!/^ran$/m.test(printed), 'no script of the package has left its trace')
  assert.deepEqual(phases, ['install', 'run'])
  assert.deepEqual(
    summary?.phases?.map(({ phase }) => phase),
    ['install', 'run'],
  )
})

test('a tarball that is not what the lockfile says is not installed', async (t) => {
  const { registry, run } = await openRegistry(t)
  const integrity = `sha512-${Buffer.alloc(64, 1).toString('base64')}`
  const { completion, printed } = await run({ files: registry.project(['greeter'], { greeter: { integrity } }) })
  assert.deepEqual([completion.outcome, completion.error?.code], ['failed', 'install_failed'])
  assert.match(printed, /EINTEGRITY/)
  assert.ok(!printed.includes('hello'))
})

test('a registry that redirects to this machine, or to a host that is not listed, leads nowhere', async (t) => {
  const { registry, run } = await openRegistry(t)
  for (const to of [`https://127.0.0.1:${registry.port}/greeter.tgz`, 'https://evil.example.org/greeter.tgz']) {
    registry.redirects.set('/greeter.tgz', to)
    const { completion, refusals } = await run({ files: registry.project(['greeter']) })
    assert.deepEqual([completion.outcome, completion.error?.code], ['failed', 'egress_refused'], to)
    assert.deepEqual([refusals[0]?.host, refusals[0]?.reason], [new URL(to).hostname, 'not_listed'])
  }
})

test('what the lockfile names in another way than https with a digest is refused before anything runs', async (t) => {
  const { registry, run } = await openRegistry(t)
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ resolved: 'git+ssh://git@github.com/a/b.git#0123456789012345678901234567890123456789' }, /comes over git\+ssh/],
    [{ resolved: 'git+https://github.com/a/b.git#0123' }, /comes over git\+https/],
    [{ resolved: 'http://npm.example.test/x.tgz' }, /comes over http;/],
    [{ resolved: 'https://user:pass@npm.example.test/x.tgz' }, /credentials/],
    [{ integrity: undefined }, /no digest/],
    [{ integrity: 'sha1-abc' }, /no digest/],
    [{ resolved: 'nonsense' }, /cannot be read/],
  ]
  for (const [change, message] of cases) {
    const { completion, summary } = await run({ files: registry.project(['greeter'], { greeter: change }) })
    assert.equal(completion.error?.code, 'lockfile_refused', JSON.stringify(change))
    assert.match(completion.error?.message ?? '', message)
    assert.equal(summary, undefined, 'no sandbox was started')
  }
  const { completion } = await run({ files: [{ path: 'package.json', content: '{}' }] })
  assert.match(completion.error?.message ?? '', /no package-lock\.json/)
  assert.deepEqual(registry.requests, [])
})

test('a project that may reach nothing is told exactly what to allow, and by whom', async (t) => {
  const { registry, run } = await openRegistry(t)
  const { completion } = await run({ files: registry.project(['greeter']) }, [])
  assert.equal(completion.error?.code, 'egress_refused')
  assert.match(
    completion.error?.message ?? '',
    /An owner can allow it: hivesync project egress --add npm\.example\.test$/,
  )
  for (const hosts of [['127.0.0.1'], ['*'], ['localhost']]) {
    const refused = await run({ files: registry.project(['greeter']) }, hosts)
    assert.equal(refused.completion.error?.code, 'invalid_input', 'a server that sends such a list is not believed')
  }
  assert.deepEqual(registry.requests, [])
})

test('an install that reads more than its project allows is cut off, and the refusal says why', async (t) => {
  const { registry, run } = await openRegistry(t)
  const files = registry.project(['bulky'])
  const command = ['wc', '-c', 'node_modules/bulky/data.txt']
  const egress = { hosts: ['npm.example.test'], maxBytes: 100_000, maxSeconds: 600 }
  const { completion, refusals } = await run({ files, command }, undefined, { egress })
  assert.deepEqual([completion.outcome, completion.error?.code], ['failed', 'egress_refused'])
  assert.match(completion.error?.message ?? '', /bytes_down/)
  assert.ok(refusals.every(({ reason }) => reason === 'bytes_down'))
  const allowed = await run({ files, command }, undefined, { egress: { ...egress, maxBytes: 1_000_000 } })
  assert.equal(allowed.completion.outcome, 'succeeded')
})

test('an install that takes longer than its project allows is ended, whatever the job’s own time', async (t) => {
  const { registry, run } = await openRegistry(t)
  registry.silent.add('/greeter.tgz')
  const egress = { hosts: ['npm.example.test'], maxBytes: 100_000, maxSeconds: 2 }
  const { completion, phases } = await run({ files: registry.project(['greeter']) }, undefined, { egress })
  assert.deepEqual([completion.outcome, completion.error?.code], ['failed', 'limit_wall'])
  assert.deepEqual(phases, ['install'])
})

test('what a server says of bytes and time beyond all measure is not believed', async (t) => {
  const { registry, run } = await openRegistry(t)
  const sane = { hosts: ['npm.example.test'], maxBytes: 1_000_000, maxSeconds: 60 }
  for (const change of [
    { maxBytes: 2 ** 40 },
    { maxBytes: 0 },
    { maxBytes: 1.5 },
    { maxSeconds: 3601 },
    { maxSeconds: -1 },
  ]) {
    const { completion } = await run({ files: registry.project(['greeter']) }, undefined, {
      egress: { ...sane, ...change },
    })
    assert.equal(completion.error?.code, 'invalid_input', JSON.stringify(change))
  }
  assert.deepEqual(registry.requests, [])
})
