import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { makeFolder, makeRepository } from './test-support/git-repository.ts'
import { startGitServer } from './test-support/git-server.ts'
import { useIngest } from './test-support/ingest-run.ts'

const { ingest, assertFails } = useIngest()

async function askMirror(mirror: string, ...args: string[]): Promise<string> {
  const git = ['-c', 'safe.directory=*', `--git-dir=${mirror}`, ...args]
  return (await promisify(execFile)('git', git, { env: { PATH: '/usr/bin:/bin' } })).stdout
}

async function countObjects(mirror: string): Promise<number> {
  const stdout = await askMirror(mirror, 'count-objects', '-v')
  return Number(/^in-pack: (\d+)$/m.exec(stdout)?.[1]) + Number(/^count: (\d+)$/m.exec(stdout)?.[1])
}

async function serveRepository(folder: string) {
  const repository = await makeRepository(join(folder, 'repos/a.git'))
  const commit = await repository.commitFiles({
    'src/a.ts': 'export const a = 1\n',
    'README.md': '# Title\n',
    LICENSE: 'MIT\n',
  })
  const server = await startGitServer(join(folder, 'repos'))
  const settings = { privateHosts: [server.privateHost], caFile: server.caFile }
  return { repository, commit, server, call: { repository: server.url('a.git'), resolve: server.resolve, settings } }
}

test('a repository is fetched over https through the filtering proxy and its files handed over', async () => {
  await using folder = await makeFolder()
  const { commit, server, call } = await serveRepository(folder.path)
  await using _ = server
  const run = await ingest(folder.path, call)
  assert.deepEqual([run.commit, run.branch, run.changed, run.files, run.bytes], [commit, 'main', true, 3, 31])
  assert.deepEqual(run.sources, [
    { path: 'LICENSE', language: 'Text', text: 'MIT\n' },
    { path: 'README.md', language: 'Markdown', text: '# Title\n' },
    { path: 'src/a.ts', language: 'TypeScript', text: 'export const a = 1\n' },
  ])
  assert.deepEqual(run.languages.TypeScript, { files: 1, bytes: 19 })
  assert.ok(
    run.decisions.length > 0 && run.decisions.every((decision) => decision.allowed && decision.address === '127.0.0.1'),
  )
})

test('progress goes through the phases in order and never back', async () => {
  await using folder = await makeFolder()
  const { server, call } = await serveRepository(folder.path)
  await using _ = server
  const { progress } = await ingest(folder.path, call)
  const phases = progress.map((step) => step.phase)
  assert.deepEqual([...new Set(phases)], ['resolve', 'fetch', 'read', 'index'])
  for (const phase of new Set(phases)) {
    const percents = progress.filter((step) => step.phase === phase).map((step) => step.percent)
    assert.deepEqual(
      percents,
      percents.toSorted((a, b) => a - b),
    )
    assert.equal(percents.at(-1), 100)
  }
  assert.ok(progress.some((step) => step.message === 'Receiving objects' && step.percent > 0))
})

test('a second ingest transfers only the new objects, a third none', async () => {
  await using folder = await makeFolder()
  const { repository, server, call } = await serveRepository(folder.path)
  await using _ = server
  const bulk = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7919) % 251)).toString('base64')
  await repository.commitFiles({ 'bulk.txt': bulk })
  await ingest(folder.path, call)
  const firstBytes = server.requests.reduce((sum, request) => sum + request.responseBytes, 0)
  const mirror = join(folder.path, 'data/mirrors/project/repository')
  const before = await countObjects(mirror)

  const commit = await repository.commitFiles({ 'bulk.txt': bulk, 'new.txt': 'new\n' })
  server.requests.length = 0
  const second = await ingest(folder.path, call)
  assert.deepEqual([second.commit, second.changed, second.files], [commit, true, 2])
  assert.equal((await countObjects(mirror)) - before, 3) // commit, tree, blob
  const secondBytes = server.requests.reduce((sum, request) => sum + request.responseBytes, 0)
  assert.ok(secondBytes < 2_000 && firstBytes > secondBytes, `${firstBytes} then ${secondBytes}`)

  const third = await ingest(folder.path, call)
  assert.deepEqual([third.commit, third.changed, third.files], [commit, false, 2])
  assert.equal((await countObjects(mirror)) - before, 3)
})

test('a branch, a tag and a full commit id can be asked for; branches gone from the remote are pruned', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  const call = { repository: `file://${repository.path}` }
  const first = await repository.commitFiles({ a: 'one' })
  await repository.git(['tag', '-a', 'v1', '-m', 'v1', first])
  const second = await repository.commitFiles({ a: 'two' })
  const topic = await repository.commitFiles({ a: 'three' }, 'refs/heads/topic/x')
  const expected = {
    'topic/x': [topic, 'topic/x'],
    v1: [first, null],
    'refs/tags/v1': [first, null],
    [first]: [first, null],
  }
  for (const [ref, answer] of Object.entries(expected)) {
    const run = await ingest(folder.path, { ...call, ref })
    assert.deepEqual([run.commit, run.branch], answer, ref)
  }
  const moved = await repository.commitFiles({ a: 'four' }, 'refs/heads/topic/x')
  assert.equal((await ingest(folder.path, { ...call, ref: 'topic/x' })).commit, moved)
  const byDefault = await ingest(folder.path, call)
  assert.deepEqual([byDefault.commit, byDefault.branch], [second, 'main'])
  await repository.git(['update-ref', '-d', 'refs/heads/topic/x'])
  await ingest(folder.path, call)
  await assertFails(folder.path, { ...call, ref: 'topic/x' }, 'ref_not_found')
  const mirror = join(folder.path, 'data/mirrors/project/repository')
  assert.equal(await askMirror(mirror, 'for-each-ref', '--format=%(refname)'), 'refs/heads/main\nrefs/tags/v1\n')
})

test('a local repository is read although it belongs to somebody else and has a worktree', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'work/.git'))
  await repository.commitFiles({ 'main.go': 'package main\n' })
  const run = await ingest(folder.path, { repository: `file://${folder.path}/work` })
  assert.deepEqual(run.sources, [{ path: 'main.go', language: 'Go', text: 'package main\n' }])
  assert.deepEqual(run.decisions, [])
})

test('the mirror is closed to other users while the job runs and once it is over, and nothing else is left', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  await repository.commitFiles({ a: 'x' })
  const mirrors = join(folder.path, 'data/mirrors')
  const modes = new Set<number>()
  const onProgress = () => {
    for (const path of [join(mirrors, 'project'), join(mirrors, 'project/repository')]) {
      if (existsSync(path)) modes.add(statSync(path).mode & 0o777)
    }
  }
  await ingest(folder.path, { repository: `file://${repository.path}`, onProgress })
  assert.ok(modes.size > 0)
  for (const mode of modes) assert.equal(mode & 0o067, 0, mode.toString(8))
  assert.deepEqual(await readdir(mirrors), ['project'])
  assert.deepEqual(await readdir(join(mirrors, 'project')), ['repository'])
  assert.equal((await stat(join(mirrors, 'project'))).mode & 0o777, 0o700)
  assert.equal((await stat(mirrors)).mode & 0o066, 0)
})

test('a project given another repository does not keep the first one', async () => {
  await using folder = await makeFolder()
  const first = await makeRepository(join(folder.path, 'a.git'))
  const second = await makeRepository(join(folder.path, 'b.git'))
  const commit = await first.commitFiles({ a: 'a' })
  await second.commitFiles({ b: 'b' })
  await ingest(folder.path, { repository: `file://${first.path}` })
  const run = await ingest(folder.path, { repository: `file://${second.path}` })
  assert.deepEqual(
    run.sources.map((file) => file.path),
    ['b'],
  )
  await assertFails(folder.path, { repository: `file://${second.path}`, ref: commit }, 'ref_not_found')
})

test('files come in batches of about a mebibyte and the next one waits for the last', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  const text = 'line of text\n'.repeat(30_000)
  const files = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`f${index}.txt`, `${index}${text}`]))
  await repository.commitFiles(files)
  const sizes: number[] = []
  let inHand = 0
  const onFiles = async (batch: { text: string }[]) => {
    inHand += 1
    assert.equal(inHand, 1)
    sizes.push(batch.reduce((sum, file) => sum + file.text.length, 0))
    await stat(folder.path)
    inHand -= 1
  }
  const run = await ingest(folder.path, { repository: `file://${repository.path}`, onFiles })
  assert.equal(run.files, 30)
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    run.bytes,
  )
  assert.ok(Math.max(...sizes) <= 1024 * 1024 && sizes.length >= 12)
})

test('an error of the receiver ends the ingest and leaves the mirror usable', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  await repository.commitFiles({ a: 'x' })
  const call = { repository: `file://${repository.path}` }
  await assert.rejects(
    ingest(folder.path, { ...call, onFiles: () => Promise.reject(new Error('index full')) }),
    /index full/,
  )
  assert.equal((await ingest(folder.path, call)).changed, false)
})
