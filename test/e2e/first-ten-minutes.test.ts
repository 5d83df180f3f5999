import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Job } from '@hivesync/contracts/jobs.ts'
import { type Installation, install, setUp } from './installation.ts'

const run = promisify(execFile)

test('a newcomer sets up, ingests a repository, searches it, runs a command, and loses nothing in a restart', async () => {
  await using hive = await install()
  await setUp(hive)
  await hive.line((line) => line.includes('"worker_ready"'))

  const repository = await makeRepository(hive, 3200)
  const ingest = await hive.cli('ingest', `file://${repository}`)
  assert.equal(ingest.code, 0, ingest.stderr)

  const hits = await hive.json<{ items: { path: string; line: number }[] }>('search', 'needle in module 1234')
  assert.deepEqual(
    hits.items.map(({ path, line }) => ({ path, line })),
    [{ path: 'src/module-1234.ts', line: 2 }],
  )

  const command = await hive.cli('run', '--', 'sh', '-c', 'echo out; echo err >&2; id -u; exit 7')
  assert.equal(command.code, 7, command.stderr)
  assert.match(command.stdout, /^out\n1000\n$/)
  assert.match(command.stderr, /err/)

  const before = await hive.json<{ items: Job[] }>('job', 'ls')
  assert.equal(await hive.stop(), 0)
  await hive.start()
  const after = await hive.json<{ items: Job[] }>('job', 'ls')
  assert.deepEqual(after, before)
  const again = await hive.json<{ items: unknown[] }>('search', 'needle in module 1234')
  assert.equal(again.items.length, 1)
})

async function makeRepository(hive: Installation, files: number): Promise<string> {
  const folder = join(hive.folder, 'repos', 'big')
  await mkdir(join(folder, 'src'), { recursive: true })
  for (let i = 0; i < files; i++)
    await writeFile(join(folder, 'src', `module-${i}.ts`), `export const value = ${i}\n// needle in module ${i};\n`)
  const git = (...args: string[]) =>
    run('git', ['-C', folder, '-c', 'user.name=Test', '-c', 'user.email=test@example.net', ...args])
  await git('init', '--quiet', '--initial-branch=main')
  await git('add', '.')
  await git('commit', '--quiet', '--message=Begin')
  await chmod(folder, 0o755)
  return folder
}
