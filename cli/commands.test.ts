import assert from 'node:assert/strict'
import test from 'node:test'
import { createApiKey, listApiKeys, revokeApiKey, rotateApiKey } from '@hivesync/contracts/api-keys.ts'
import { listJobs } from '@hivesync/contracts/jobs.ts'
import { listProjects } from '@hivesync/contracts/projects.ts'
import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { startPeer } from '../sdk/test-support/peer.ts'
import { apiKey, idOf, jobOf, newApiKey, project } from '../sdk/test-support/samples.ts'
import { commands } from './commands.ts'
import { makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'

const jobId = idOf(5)
/** One working command line for every command. */
const lines: Readonly<Record<string, { args?: string[]; stdin?: string; needsNoToken?: true; isInteractive?: true }>> =
  {
    setup: {
      args: ['--setup-token', 'x', '--email', 'a@b', '--username', 'ada', '--password-stdin'],
      stdin: 'secret\n',
      needsNoToken: true,
    },
    login: { args: ['--login', 'ada', '--password-stdin'], stdin: 'secret\n', needsNoToken: true },
    logout: { needsNoToken: true },
    'auth status': {},
    'auth sessions': {},
    'auth revoke': { args: [idOf(2)] },
    'auth password': { args: ['--passwords-stdin'], stdin: 'old\nnew\n' },
    'auth approve': { args: ['BCDF-GHJK', '--password-stdin'], stdin: 'secret\n' },
    'auth forgot': { args: ['ada'] },
    'auth mfa totp': { isInteractive: true },
    'auth mfa ls': {},
    'auth mfa rm': { args: ['totp', '--password-stdin'], stdin: 'secret\n' },
    'auth recovery-codes': { args: ['--password-stdin'], stdin: 'secret\n' },
    'team ls': {},
    'team new': { args: ['Crew'] },
    'team rename': { args: ['Crew', 'Cast'] },
    'team rm': { args: ['Crew', '--password-stdin'], stdin: 'secret\n' },
    'team members': { args: ['Crew'] },
    'team role': { args: ['Crew', 'grace', 'admin'] },
    'team remove': { args: ['Crew', 'grace'] },
    'team leave': { args: ['Crew'] },
    'team transfer': { args: ['Crew', 'grace', '--password-stdin'], stdin: 'secret\n' },
    'team invite': { args: ['Crew', 'new@example.org', '--role', 'admin'] },
    'team invitations': { args: ['Crew'] },
    'team uninvite': { args: ['Crew', 'new@example.org'] },
    'team join': { args: ['http://hive.test/account#invitation=token'] },
    'admin alerts': {},
    'admin acknowledge': { args: ['01890000-0000-7000-8000-000000000000'] },
    'admin errors': {},
    'admin posture': {},
    'admin settings': {},
    'admin team ls': { args: ['hi'] },
    'admin job ls': { args: ['--state', 'queued'] },
    'admin tier ls': {},
    'admin tier set': { args: ['pro', 'runningJobs=20', '--password-stdin'], stdin: 'secret\n' },
    'admin tier assign': {
      args: ['01890000-0000-7000-8000-000000000000', 'pro', '--password-stdin'],
      stdin: 'secret\n',
    },
    'admin user ls': { args: ['gra'] },
    'admin user show': { args: ['grace'] },
    'admin user deactivate': { args: ['grace', '--password-stdin'], stdin: 'secret\n' },
    'admin user activate': { args: ['grace', '--password-stdin'], stdin: 'secret\n' },
    'admin user make-admin': { args: ['grace', '--password-stdin'], stdin: 'secret\n' },
    'admin user remove-admin': { args: ['grace', '--password-stdin'], stdin: 'secret\n' },
    'admin user end-sessions': { args: ['grace', '--password-stdin'], stdin: 'secret\n' },
    'admin user reset': { args: ['grace@example.org', '--password-stdin'], stdin: 'secret\n' },
    'admin invite': { args: ['new@example.org'] },
    'audit tail': { args: ['--team', 'Crew', '--refused'] },
    'audit head': {},
    'admin rotate-keys': { args: ['--emergency', '--password-stdin'], stdin: 'secret\n' },
    'project ls': {},
    'project new': { args: ['Apollo'] },
    'project use': { args: ['Apollo'] },
    'project show': { args: ['Apollo'] },
    'project members': {},
    'project egress': { args: ['--add', 'registry.npmjs.org'] },
    ingest: { args: ['https://example.org/a.git', '--ref', 'main'] },
    run: { args: ['--env', 'A=1', '--', 'echo', '--json'] },
    search: { args: ['needle', '--path', 'src'] },
    'job ls': { args: ['--state', 'succeeded'] },
    'job get': { args: [jobId] },
    'job watch': { args: [jobId] },
    'job logs': { args: [jobId, '-f'] },
    'job why': { args: [jobId] },
    'job attempts': { args: [jobId] },
    'job artifacts': { args: [jobId] },
    'job download': { args: [jobId] },
    'bundle up': { args: [`${import.meta.dirname}/commands/bundle`] },
    'job cancel': { args: [jobId] },
    'job retry': { args: [jobId] },
    'queue ls': {},
    'queue pause': { args: ['compute', '--all-projects', '--reason', 'upgrade'] },
    'queue resume': { args: ['compute'] },
    'queue limit': { args: ['compute', '3'] },
    'webhook ls': { args: ['--team', 'Crew'] },
    'webhook new': { args: ['https://example.org/hook', '--event', 'job.*', '--team', 'Crew'] },
    'webhook show': { args: [idOf(70), '--team', 'Crew'] },
    'webhook test': { args: [idOf(70), '--team', 'Crew'] },
    'webhook deliveries': { args: [idOf(70), idOf(71), '--team', 'Crew'] },
    'webhook replay': { args: [idOf(70), '--failed', '2h', '--team', 'Crew'] },
    'webhook rotate': { args: [idOf(70), '--grace', '0', '--team', 'Crew'] },
    'webhook disable': { args: ['https://example.org/hook', '--team', 'Crew'] },
    'webhook enable': { args: [idOf(70), '--team', 'Crew'] },
    'webhook rm': { args: [idOf(70), '--team', 'Crew'] },
    'schedule ls': {},
    'schedule add': { args: ['nightly', '0 3 * * *', '--zone', 'Europe/Berlin', '--', 'make'] },
    'schedule run': { args: ['nightly'] },
    'schedule pause': { args: ['nightly'] },
    'schedule resume': { args: ['nightly'] },
    'schedule rm': { args: ['nightly'] },
    'key create': {
      args: ['ci', '--scope', 'jobs:write', '--scope', 'read', '-p', 'Apollo', '--expires', '30d', '--limit', '500'],
    },
    'key ls': {},
    'key rotate': { args: ['ci', '--overlap', '1d'] },
    'key revoke': { args: ['ci'] },
    'worker enrol': { args: ['laptop', '--ttl', '10m'] },
    'worker enrolments': {},
    'worker revoke-enrolment': { args: ['01890000-0000-7000-8000-000000000000', '--workers'] },
    'worker ls': {},
    'worker drain': { args: ['laptop'] },
    'worker request-rotation': { args: ['laptop'] },
    'worker revoke': { args: ['laptop'] },
  }

test('every command has a line here', () => {
  assert.deepEqual(Object.keys(lines).sort(), commands.map(({ name }) => name).sort())
})

for (const [name, { args = [], stdin = '', needsNoToken, isInteractive }] of Object.entries(lines)) {
  // What only a person can do has tests of its own.
  if (isInteractive) continue
  const env: Record<string, string> = needsNoToken === true ? {} : { HIVESYNC_CLI_TOKEN: 'hs_key' }

  test(`${name} answers --json with one JSON document and nothing else`, async () => {
    await using peer = await startPeer()
    await using home = await makeCliHome()
    serveEverything(peer)
    const run = await home.run([...name.split(' '), '--json', '--server', peer.url, ...args], { stdin, env })
    assert.equal(run.stderr, '')
    assert.equal(run.code, 0)
    assert.match(run.stdout, /^\{.*\}\n$/)
    assert.equal(typeof JSON.parse(run.stdout), 'object')
  })

  test(`${name} answers people without a control character, also on a terminal without colors`, async () => {
    await using peer = await startPeer()
    await using home = await makeCliHome()
    serveEverything(peer)
    const options = { stdin, env: { ...env, NO_COLOR: '1' }, tty: { stdout: true } }
    const run = await home.run([...name.split(' '), '--server', peer.url, ...args], options)
    assert.equal(run.code, 0, run.stderr)
    assert.doesNotMatch(run.stdout, /[^\P{Cc}\n\t]/u)
  })
}

for (const name of Object.keys(lines)) {
  test(`${name} has help that names its options, and needs no settings for it`, async () => {
    await using home = await makeCliHome()
    for (const argv of [
      ['help', ...name.split(' ')],
      [...name.split(' '), '--help'],
    ]) {
      const run = await home.run(argv)
      assert.equal(run.code, 0, run.stderr)
      const command = commands.find((candidate) => candidate.name === name)
      assert.ok(run.stdout.startsWith(`hivesync ${name}: ${command?.summary}`))
      for (const option of Object.keys(command?.options ?? {})) assert.ok(run.stdout.includes(`--${option}`), option)
    }
    const json = await home.run(['help', ...name.split(' '), '--json'])
    assert.equal(JSON.parse(json.stdout).name, name)
  })
}

test('lists are tables with aligned columns', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const { stdout } = await home.run(['worker', 'ls'], { env })
  const [headings = '', row = ''] = stdout.split('\n')
  for (const [heading, value] of [
    ['STATE', 'online'],
    ['BUSY', '1/4'],
    ['ISOLATION', 'full'],
    ['ID', idOf(6)],
  ] as const) {
    assert.equal(
      headings.indexOf(heading, heading === 'ID' ? headings.indexOf('VERSION') : 0),
      row.indexOf(value),
      stdout,
    )
  }
})

test('search prints path:line: excerpt, and marks what was searched for on a terminal only', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  assert.equal((await home.run(['search', 'needle'], { env })).stdout, 'src/a.ts:7: const Needle = 1\n')
  const colored = await home.run(['search', 'needle'], { env, tty: { stdout: true } })
  assert.ok(colored.stdout.includes('const \u001b[1mNeedle\u001b[22m = 1'))
})

test('worker enrol prints the one command for the other machine', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const { stdout } = await home.run(['worker', 'enrol', "Ada's box"], { env })
  const name = `HIVESYNC_WORKER_NAME='Ada'\\''s box'`
  const command = `HIVESYNC_WORKER_SERVER=${peer.url} HIVESYNC_WORKER_TOKEN=hse_token ${name} npx hivesync worker start`
  assert.ok(stdout.includes(`\n ${command}\n`), stdout)
})

test('worker enrol for a fleet says how often the token works, and gives no machine a name', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  let asked: unknown
  peer.on(createEnrolment, ({ body }) => {
    asked = body
    return { id: idOf(7), enrolmentToken: 'hse_token', expiresAt: '2026-02-02T03:04:05.678Z' }
  })
  const fleet = ['--uses', '500', '--pool', 'swarm', '--ephemeral', '--ttl', '30d']
  const { stdout } = await home.run(['worker', 'enrol', 'swarm', ...fleet], { env })
  assert.match(stdout, /works 500 times/)
  assert.ok(!stdout.includes('HIVESYNC_WORKER_NAME'), stdout)
  assert.deepEqual(asked, {
    name: 'swarm',
    maxUses: 500,
    pool: 'swarm',
    ephemeral: true,
    ttlSeconds: 30 * 86_400,
  })
  assert.equal((await home.run(['worker', 'enrol', '--uses', '0'], { env })).code, 2)
})

test('a new key is alone on standard output, what people want to know of it beside', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  for (const args of [
    ['key', 'create', 'ci', '--scope', 'read'],
    ['key', 'rotate', apiKey.id],
  ]) {
    const { stdout, stderr } = await home.run(args, { env })
    assert.equal(stdout, `${newApiKey.apiKey}\n`)
    assert.ok(!stderr.includes(newApiKey.apiKey) && stderr.includes(newApiKey.id), stderr)
  }
})

test('a key is asked for as the options say, and rotated and revoked by the id of the one that is meant', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const asked: unknown[] = []
  peer.on(createApiKey, ({ body }) => {
    asked.push({ ...body, expiresAt: typeof body.expiresAt })
    return newApiKey
  })
  peer.on(rotateApiKey, ({ params, body }) => {
    asked.push([params.apiKeyId, body])
    return newApiKey
  })
  peer.on(revokeApiKey, ({ params }) => void asked.push(params.apiKeyId))
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const code = async (...args: string[]) => (await home.run(['key', ...args], { env })).code
  assert.equal(await code('create', 'ci', '-s', 'read', '-p', 'Apollo', '--expires', '30d', '--limit', '500'), 0)
  const replaced = { ...apiKey, id: idOf(41), replacedBy: apiKey.id }
  peer.on(listApiKeys, () => ({ items: [apiKey, replaced], nextCursor: null }))
  assert.deepEqual([await code('rotate', 'ci', '--overlap', '0'), await code('revoke', idOf(41))], [0, 0])
  peer.on(listApiKeys, () => ({ items: [apiKey, { ...apiKey, id: idOf(42) }], nextCursor: null }))
  assert.deepEqual([await code('revoke', 'ci'), await code('revoke', 'nobody')], [2, 4])
  for (const wrong of [[], ['-s', 'raed'], ['-s', 'read', '--limit', '0'], ['-s', 'read', '--expires', 'soon']])
    assert.equal(await code('create', 'ci', ...wrong), 2, wrong.join(' '))
  assert.deepEqual(asked, [
    { name: 'ci', scopes: ['read'], projectId: project.id, expiresAt: 'string', rateLimitPerHour: 500 },
    [apiKey.id, { overlapSeconds: 0 }],
    idOf(41),
  ])
})

test('the project is the one that is named, the default, or the only one; otherwise it is asked for', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const asked: string[] = []
  peer.on(listJobs, ({ params }) => {
    asked.push(params.projectId)
    return { items: [jobOf()], nextCursor: null }
  })
  const env = { HIVESYNC_CLI_SERVER: peer.url }
  await home.run(['login', '--login', 'ada', '--password-stdin'], { env, stdin: 'secret\n' })
  const second = { ...project, id: idOf(31), name: 'Zeus' }
  assert.equal((await home.run(['job', 'ls'], { env })).code, 0)
  peer.on(listProjects, () => ({ items: [project, second, { ...second, id: idOf(32) }], nextCursor: null }))
  assert.equal((await home.run(['job', 'ls'], { env })).code, 2)
  assert.equal((await home.run(['job', 'ls', '-p', 'Apollo'], { env })).code, 0)
  assert.equal((await home.run(['job', 'ls', '-p', idOf(31)], { env })).code, 0)
  assert.equal((await home.run(['job', 'ls', '-p', 'Nobody'], { env })).code, 4)
  const ambiguous = await home.run(['job', 'ls', '-p', 'Zeus'], { env })
  assert.equal(ambiguous.code, 2)
  assert.ok(ambiguous.stderr.includes(`${idOf(31)}, ${idOf(32)}`))
  assert.equal((await home.run(['project', 'use', 'Apollo'], { env })).code, 0)
  assert.equal((await home.run(['job', 'ls'], { env })).code, 0)
  assert.deepEqual(asked, [project.id, project.id, idOf(31), project.id])
})
