// The command line against a control plane that listens: what it uploads is taken, and what it fetches lands where it may.
import assert from 'node:assert/strict'
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createApiKey } from '@hivesync/contracts/api-keys.ts'
import { leave, sha256Of } from '../test/harness/files.ts'
import { describeHive, type Hive } from '../test/harness/hive.ts'
import { complete, submitted, take } from '../test/harness/jobs.ts'
import { receiveFile } from './receive-file.ts'
import { type CliHome, makeCliHome } from './test-support/run-cli.ts'

async function makeFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-cli-files-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

describeHive(
  'the command line',
  (open) => {
    async function connect(hive: Hive, home: CliHome) {
      await hive.app.listen({ host: '127.0.0.1', port: 0 })
      const { port } = hive.app.server.address() as AddressInfo
      const ada = await hive.person('ada')
      const projectId = await hive.project(ada)
      const body = { name: 'cli', scopes: ['write' as const] }
      const { apiKey } = (await hive.call(createApiKey, { token: ada.token, body })).body
      const env = { HIVESYNC_CLI_TOKEN: apiKey, HIVESYNC_CLI_SERVER: `http://127.0.0.1:${port}` }
      const run = (...args: string[]) => home.run(args, { env })
      return { ada, projectId, run }
    }

    test('uploads a folder that the server takes, and says what it leaves out', async (t) => {
      await using hive = await open()
      await using home = await makeCliHome()
      const { run, projectId } = await connect(hive, home)
      const folder = await makeFolder(t)
      const deep = join(folder, ...Array.from({ length: 12 }, (_, i) => `folder-number-${i}`))
      await mkdir(deep, { recursive: true })
      for (const name of ['.git', 'node_modules', 'empty']) await mkdir(join(folder, name))
      await writeFile(join(folder, '.git', 'config'), 'secret')
      await writeFile(join(deep, 'fünf.txt'), 'x'.repeat(1000))
      await writeFile(join(folder, 'run.sh'), '#!/bin/sh\n')
      await chmod(join(folder, 'run.sh'), 0o4755)
      await writeFile(join(folder, 'nothing'), '')
      await symlink('/etc/passwd', join(folder, 'passwd'))
      const { code, stdout, stderr } = await run('bundle', 'up', folder, '--json')
      assert.equal(`${code} ${stderr}`, '0 ')
      const { bundle, skipped } = JSON.parse(stdout)
      assert.equal(bundle.projectId, projectId)
      assert.equal(bundle.entries, 12 + 1 + 3)
      assert.deepEqual(
        skipped.map(({ path }: { path: string }) => path),
        ['.git', 'node_modules', 'passwd'],
      )
      const submission = await run('run', '--bundle', bundle.id, '--no-wait', '--json', '--', 'true')
      assert.equal(JSON.parse(submission.stdout).job.state, 'queued')
    })

    test('fetches what a job left, verified, and replaces nothing unasked', async (t) => {
      await using hive = await open()
      await using home = await makeCliHome()
      const { run, ada, projectId } = await connect(hive, home)
      const worker = await hive.worker()
      const job = await submitted(hive, ada, projectId)
      const claim = await take(worker)
      const content = Buffer.alloc(300_000, 'z')
      await leave(worker, claim, { 'out/big': content, 'out/small': Buffer.from('s'), other: Buffer.alloc(0) })
      await complete(worker, claim)
      assert.match((await run('job', 'artifacts', job.id)).stdout, /out\/big\s+300000/)
      const folder = await makeFolder(t)
      assert.equal((await run('job', 'download', job.id, '-o', folder)).code, 0)
      assert.ok(content.equals(await readFile(join(folder, 'out/big'))))
      assert.deepEqual((await readdir(folder, { recursive: true })).sort(), ['other', 'out', 'out/big', 'out/small'])
      await writeFile(join(folder, 'out/small'), 'mine')
      const again = await run('job', 'download', job.id, 'out', '-o', folder)
      assert.match(again.stderr, /is there already/)
      assert.equal(await readFile(join(folder, 'out/small'), 'utf8'), 'mine')
      assert.equal((await run('job', 'download', job.id, 'out', '-o', folder, '--force')).code, 0)
      assert.equal(await readFile(join(folder, 'out/small'), 'utf8'), 's')
      assert.equal((await run('job', 'download', job.id, 'nope', '-o', folder)).code, 4)
    })
  },
  { only: 'sqlite' },
)

test('a fetched file lands below the folder or nowhere, and only whole', async (t) => {
  const folder = await makeFolder(t)
  const outside = await makeFolder(t)
  await symlink(outside, join(folder, 'link'))
  const content = Buffer.from('content')
  const receive = (path: string, sent = content, force = true) =>
    receiveFile(
      folder,
      { id: 'x', path, bytes: content.length, sha256: sha256Of(content) },
      (async function* () {
        yield sent
      })(),
      { force },
    )
  for (const path of ['../a', '/a', 'a/../../b', 'a//b', '.', '', 'a\\b', 'a\u001b[2J', 'link/a'])
    await assert.rejects(receive(path), path)
  for (const sent of [Buffer.from('Content'), Buffer.from('conten'), Buffer.from('contents')])
    await assert.rejects(receive('a', sent), /did not arrive/)
  assert.deepEqual(await readdir(outside), [])
  assert.deepEqual(await readdir(folder), ['link'])
  await receive('link')
  assert.ok((await lstat(join(folder, 'link'))).isFile())
  await assert.rejects(receive('link', content, false), /is there already/)
})
