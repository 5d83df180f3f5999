import assert from 'node:assert/strict'
import test from 'node:test'
import { listJobs } from '@hivesync/contracts/jobs.ts'
import { listProjects } from '@hivesync/contracts/projects.ts'
import { startPeer } from '../sdk/test-support/peer.ts'
import { idOf, jobOf, project } from '../sdk/test-support/samples.ts'
import { commands } from './commands.ts'
import { makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'

const jobId = idOf(5)
/** One working command line for every command. */
const lines: Readonly<Record<string, { args?: string[]; stdin?: string; needsNoToken?: true }>> = {
  setup: {
    args: ['--setup-token', 'x', '--email', 'a@b', '--username', 'ada', '--password-stdin'],
    stdin: 'secret\n',
    needsNoToken: true,
  },
  login: { args: ['--login', 'ada', '--password-stdin'], stdin: 'secret\n', needsNoToken: true },
  logout: { needsNoToken: true },
  'auth status': {},
  'project ls': {},
  'project new': { args: ['Apollo'] },
  'project use': { args: ['Apollo'] },
  'project show': { args: ['Apollo'] },
  'project members': {},
  ingest: { args: ['https://example.org/a.git', '--ref', 'main'] },
  run: { args: ['--env', 'A=1', '--', 'echo', '--json'] },
  search: { args: ['needle', '--path', 'src'] },
  'job ls': { args: ['--state', 'succeeded'] },
  'job get': { args: [jobId] },
  'job watch': { args: [jobId] },
  'job logs': { args: [jobId, '-f'] },
  'job why': { args: [jobId] },
  'job attempts': { args: [jobId] },
  'job cancel': { args: [jobId] },
  'job retry': { args: [jobId] },
  'worker enrol': { args: ['laptop', '--ttl', '10m'] },
  'worker ls': {},
  'worker drain': { args: ['laptop'] },
  'worker revoke': { args: ['laptop'] },
}

test('every command has a line here', () => {
  assert.deepEqual(Object.keys(lines).sort(), commands.map(({ name }) => name).sort())
})

for (const [name, { args = [], stdin = '', needsNoToken }] of Object.entries(lines)) {
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
