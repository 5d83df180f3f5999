import assert from 'node:assert/strict'
import { chmod, mkdir, open, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder, makeRepository, noise, type TestRepository } from './test-support/git-repository.ts'
import { useIngest } from './test-support/ingest-run.ts'

const { ingest, assertFails } = useIngest()

async function withMirror(
  work: (world: { folder: string; repository: TestRepository; mirror: string; url: string }) => Promise<void>,
): Promise<void> {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  await repository.commitFiles({ a: 'first', 'bulk.txt': noise(300_000).toString('hex') })
  const url = `file://${repository.path}`
  await ingest(folder.path, { repository: url })
  await work({ folder: folder.path, repository, mirror: join(folder.path, 'data/mirrors/project/repository'), url })
}

async function findPack(mirror: string): Promise<string> {
  const name = (await readdir(join(mirror, 'objects/pack'))).find((file) => file.endsWith('.pack'))
  assert.ok(name)
  await chmod(join(mirror, 'objects/pack', name), 0o644) // git keeps packs read-only
  return join(mirror, 'objects/pack', name)
}

async function overwrite(path: string, position: number, bytes = noise(100_000)): Promise<void> {
  const file = await open(path, 'r+')
  await file.write(bytes, 0, bytes.length, position)
  await file.close()
}

/** A pack entry of type blob and size 0, deflated: well-formed, and not the commit the refs promise. */
const emptyBlob = Buffer.from('30789c030000000001', 'hex')

const damages: Readonly<Record<string, (mirror: string) => Promise<void>>> = {
  'its HEAD is garbage': (mirror) => writeFile(join(mirror, 'HEAD'), 'garbage'),
  'its pack is cut short': async (mirror) => truncate(await findPack(mirror), 100),
  'its pack is gone': async (mirror) => rm(await findPack(mirror)),
  'its pack is overwritten with noise': async (mirror) => overwrite(await findPack(mirror), 12),
  'its commit turned into something else': async (mirror) => overwrite(await findPack(mirror), 12, emptyBlob),
  'only a file of it is overwritten with noise': async (mirror) => overwrite(await findPack(mirror), 150_000),
  'it is an empty folder': async (mirror) => {
    await rm(mirror, { recursive: true })
    await mkdir(mirror, { mode: 0o777 })
  },
  'its refs are garbage': (mirror) => writeFile(join(mirror, 'refs/heads/main'), 'zzz'),
}

for (const [damage, inflict] of Object.entries(damages)) {
  test(`a mirror is thrown away and cloned afresh when ${damage}`, () =>
    withMirror(async ({ folder, mirror, url }) => {
      await inflict(mirror)
      const run = await ingest(folder, { repository: url })
      assert.deepEqual(
        run.sources.map((file) => file.path),
        ['a', 'bulk.txt'],
      )
      assert.equal((await ingest(folder, { repository: url })).changed, false)
    }))
}

test('a fetch killed midway leaves a usable mirror', () =>
  withMirror(async ({ folder, repository, mirror, url }) => {
    const commit = await repository.commitFiles({ a: 'second', 'more.bin': noise(30_000_000) })
    const abort = new AbortController()
    const onProgress = ({ message }: { message: string }) => {
      if (message === 'Receiving objects') abort.abort(new Error('killed'))
    }
    await assert.rejects(ingest(folder, { repository: url, onProgress, signal: abort.signal }), /killed/)
    const run = await ingest(folder, { repository: url })
    assert.deepEqual([run.commit, run.sources.at(0)?.text], [commit, 'second'])
    assert.deepEqual(
      (await readdir(join(mirror, 'objects/pack'))).filter((name) => name.startsWith('tmp_')),
      [],
    )
  }))

test('what a killed git left behind does not stand in the way', () =>
  withMirror(async ({ folder, repository, mirror, url }) => {
    await writeFile(join(mirror, 'objects/pack/tmp_pack_abc'), 'partial')
    await writeFile(join(mirror, 'refs/heads/main.lock'), '')
    await writeFile(join(mirror, 'packed-refs.lock'), '')
    await mkdir(join(folder, 'data/mirrors/project/new-abcdef'))
    const commit = await repository.commitFiles({ a: 'second' })
    assert.equal((await ingest(folder, { repository: url })).commit, commit)
    assert.ok(!(await readdir(join(mirror, 'objects/pack'))).includes('tmp_pack_abc'))
    assert.deepEqual(await readdir(join(folder, 'data/mirrors/project')), ['repository'])
  }))

test('a first clone that is aborted leaves nothing', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  await repository.commitFiles({ 'more.bin': noise(10_000_000) })
  const abort = new AbortController()
  const onProgress = ({ message }: { message: string }) => {
    if (message === 'Receiving objects') abort.abort(new Error('killed'))
  }
  const call = { repository: `file://${repository.path}`, onProgress, signal: abort.signal }
  await assert.rejects(ingest(folder.path, call), /killed/)
  assert.deepEqual(await readdir(join(folder.path, 'data/mirrors/project')), [])
})

test('a repository larger than the cap is stopped while it is written, and nothing is left', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  await repository.commitFiles({ 'big.bin': noise(8_000_000) })
  const call = { repository: `file://${repository.path}`, settings: { maxMirrorBytes: 2_000_000 } }
  assert.equal((await assertFails(folder.path, call, 'too_large')).retryable, false)
  assert.deepEqual(await readdir(join(folder.path, 'data/mirrors/project')), [])
})

test('a mirror that grew over the cap by forgotten history is cloned afresh; one that is really too large is refused', () =>
  withMirror(async ({ folder, repository, url }) => {
    const settings = { maxMirrorBytes: 3_000_000 }
    const first = await repository.git(['rev-parse', 'main'])
    await repository.commitFiles({ 'big.bin': noise(2_000_000) })
    await ingest(folder, { repository: url, settings })
    await repository.git(['update-ref', 'refs/heads/main', first])
    await repository.commitFiles({ 'other.bin': noise(2_000_000) })
    await ingest(folder, { repository: url, settings })
    await repository.commitFiles({ 'third.bin': noise(2_000_000) })
    await assertFails(folder, { repository: url, settings }, 'too_large')
  }))

test('many small fetches are packed together again', () =>
  withMirror(async ({ folder, mirror, repository, url }) => {
    const pack = await findPack(mirror)
    for (let index = 0; index < 51; index += 1) {
      await repository.commitFiles({ a: `${index}` })
      await repository.git(['pack-objects', '--revs', '--quiet', join(mirror, 'objects/pack/pack')], `main\n^main~1\n`)
    }
    const commit = await repository.commitFiles({ a: 'last' })
    const run = await ingest(folder, { repository: url })
    assert.equal(run.commit, commit)
    const packs = (await readdir(join(mirror, 'objects/pack'))).filter((name) => name.endsWith('.pack'))
    assert.ok(packs.length <= 2 && !packs.includes(pack), packs.join())
  }))

test('two jobs of one project at once both end well, two projects side by side too', () =>
  withMirror(async ({ folder, repository, url }) => {
    const commit = await repository.commitFiles({ a: 'second' })
    const runs = await Promise.all([
      ingest(folder, { repository: url }),
      ingest(folder, { repository: url }),
      ingest(folder, { repository: url, projectId: 'other' }),
    ])
    assert.deepEqual(
      runs.map((run) => run.commit),
      [commit, commit, commit],
    )
    assert.deepEqual((await readdir(join(folder, 'data/mirrors'))).toSorted(), ['other', 'project'])
  }))

test('a project id that is no plain name is refused', async () => {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'a.git'))
  await repository.commitFiles({ a: 'x' })
  for (const projectId of ['../x', 'a/b', '', '.', '-a', 'a\0']) {
    await assert.rejects(ingest(folder.path, { repository: `file://${repository.path}`, projectId }), RangeError)
  }
})
