import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { insidePaths } from './git.ts'
import { addHook, makeFolder, makeRepository, type TestRepository } from './test-support/git-repository.ts'
import { startGitServer } from './test-support/git-server.ts'
import { useIngest } from './test-support/ingest-run.ts'

const { ingest, assertFails } = useIngest()
const hooks = [
  'reference-transaction',
  'post-checkout',
  'post-merge',
  'pre-auto-gc',
  'post-rewrite',
  'update',
  'post-update',
]
/** The one place where something run by accident could leave a trace that outlives the sandbox. */
const trace = `${insidePaths.mirror}/ran`

async function withRepository(work: (folder: string, repository: TestRepository, url: string) => Promise<void>) {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'repos/a.git'))
  await work(folder.path, repository, `file://${repository.path}`)
}

test('hooks and commands configured in the source are not run', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({ a: 'x' })
    for (const hook of hooks) await addHook(repository, hook, trace)
    for (const key of [
      'uploadpack.packObjectsHook',
      'core.fsmonitor',
      'core.sshCommand',
      'core.alternateRefsCommand',
    ]) {
      await repository.git(['config', key, `touch ${trace};`])
    }
    await ingest(folder, { repository: url })
    assert.equal(existsSync(join(folder, 'data/mirrors/project/repository/ran')), false)
  }))

test('hooks that got into the mirror are not run', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({ a: 'x' })
    await ingest(folder, { repository: url })
    const mirror = join(folder, 'data/mirrors/project/repository')
    for (const hook of hooks) await addHook({ ...repository, path: mirror }, hook, trace)
    await chmod(join(mirror, 'hooks'), 0o755)
    await repository.commitFiles({ a: 'y' })
    assert.equal((await ingest(folder, { repository: url })).changed, true)
    assert.equal(existsSync(join(mirror, 'ran')), false)
  }))

test('submodules are counted and never fetched', () =>
  withRepository(async (folder, repository) => {
    await using server = await startGitServer(join(folder, 'repos'))
    const sub = await makeRepository(join(folder, 'repos/sub.git'))
    const commit = await sub.commitFiles({ secret: 's' })
    const modules = `[submodule "s"]\n\tpath = s\n\turl = ${server.url('sub.git')}\n[submodule "t"]\n\tpath = t\n\turl = ../sub.git\n`
    const entries = [
      { mode: '100644', oid: await repository.blob(modules), name: '.gitmodules' },
      { mode: '160000', oid: commit, name: 's' },
      { mode: '160000', oid: commit, name: 't' },
    ]
    await repository.commitTree(await repository.tree(entries))
    const settings = { privateHosts: [server.privateHost], caFile: server.caFile }
    const run = await ingest(folder, { repository: server.url('a.git'), resolve: server.resolve, settings })
    assert.equal(run.skipped.submodules, 2)
    assert.deepEqual(
      run.sources.map((file) => file.path),
      ['.gitmodules'],
    )
    assert.ok(server.requests.length > 0 && server.requests.every((request) => request.path.startsWith('/a.git/')))
  }))

test('a submodule whose URL would become an option, or whose name leaves the folder, refuses the repository', () =>
  withRepository(async (folder, repository, url) => {
    for (const modules of [
      '[submodule "s"]\n\tpath = s\n\turl = --upload-pack=id\n',
      '[submodule "../x"]\n\tpath = s\n\turl = a\n',
    ]) {
      const entries = [
        { mode: '100644', oid: await repository.blob(modules), name: '.gitmodules' },
        { mode: '160000', oid: 'a'.repeat(40), name: 's' },
      ]
      await repository.commitTree(await repository.tree(entries))
      await assertFails(folder, { repository: url }, 'repository_refused')
      await repository.git(['update-ref', '-d', 'refs/heads/main'])
    }
  }))

test('symlinks are counted and neither followed nor read', () =>
  withRepository(async (folder, repository, url) => {
    const entries = await Promise.all(
      ['/etc/passwd', '../../../../etc/passwd', 'real.txt'].map(async (target, index) => {
        return { mode: '120000', oid: await repository.blob(target), name: `link${index}` }
      }),
    )
    entries.push({ mode: '100644', oid: await repository.blob('text'), name: 'real.txt' })
    await repository.commitTree(await repository.tree(entries))
    const run = await ingest(folder, { repository: url })
    assert.deepEqual(run.sources, [{ path: 'real.txt', language: 'Text', text: 'text' }])
    assert.equal(run.skipped.symlinks, 3)
  }))

test('attributes neither run filters nor hide files nor change them', () =>
  withRepository(async (folder, repository, url) => {
    const attributes = `*.js filter=evil binary -diff export-ignore\n*.txt text eol=crlf ident export-subst working-tree-encoding=UTF-16\n`
    await repository.git(['config', 'filter.evil.smudge', `touch ${trace}`])
    const text = '$Id$ $Format:%H$\nline\n'
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 1\n`
    const files = { '.gitattributes': attributes, 'a.js': 'evil()\n', 'b.txt': text, 'c.bin.js': pointer }
    await repository.commitFiles(files)
    const run = await ingest(folder, { repository: url })
    assert.deepEqual(Object.fromEntries(run.sources.map((file) => [file.path, file.text])), files)
    assert.equal(existsSync(join(folder, 'data/mirrors/project/repository/ran')), false)
  }))

test('a tree bomb is refused once the cap on entries is passed', () =>
  withRepository(async (folder, repository, url) => {
    let entry = { mode: '100644', oid: await repository.blob('boom') }
    for (let level = 0; level < 10; level += 1) {
      const oid = await repository.tree(Array.from({ length: 10 }, (_, index) => ({ ...entry, name: `f${index}` })))
      entry = { mode: '040000', oid }
    }
    await repository.commitTree(entry.oid)
    const failed = await assertFails(folder, { repository: url, settings: { maxEntries: 5_000 } }, 'too_large')
    assert.equal(failed.retryable, false)
  }))

test('a tree nested deeper than any path is survived', () =>
  withRepository(async (folder, repository, url) => {
    let oid = await repository.tree([{ mode: '100644', oid: await repository.blob('deep'), name: 'f' }])
    for (let level = 0; level < 600; level += 1) oid = await repository.tree([{ mode: '040000', oid, name: 'dddd' }])
    const top = [
      { mode: '040000', oid, name: 'd' },
      { mode: '100644', oid: await repository.blob('top'), name: 'top.txt' },
    ]
    await repository.commitTree(await repository.tree(top))
    const run = await ingest(folder, { repository: url })
    assert.deepEqual([run.sources.map((file) => file.path), run.skipped.names], [['top.txt'], 1])
  }))

test('a huge blob is counted by its size and never read', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({ 'huge.txt': Buffer.alloc(64 * 1024 * 1024, 'a'), 'ok.txt': 'ok' })
    const run = await ingest(folder, { repository: url })
    assert.deepEqual([run.files, run.bytes, run.skipped.tooLarge], [1, 2, 1])
  }))

test('names that are not UTF-8, hold control characters or overrides, or are too long, are counted', () =>
  withRepository(async (folder, repository, url) => {
    const oid = await repository.blob('x')
    const bad = [
      Buffer.from([0x66, 0xff, 0xfe]),
      'line\nbreak',
      'esc\u001b[2Jape',
      'tab\there',
      'a\u202etxt.exe',
      'n'.repeat(1025),
    ]
    const good = ['"quoted"', 'ünïcödé.rs', 'space name.py', "it's", '-rf', '日本語']
    const names = [...bad, ...good].map((name) => Buffer.from(name))
    await repository.commitTree(await repository.tree(names.map((name) => ({ mode: '100644', oid, name }))))
    const run = await ingest(folder, { repository: url })
    assert.deepEqual(run.sources.map((file) => file.path).toSorted(), good.toSorted())
    assert.equal(run.skipped.names, bad.length)
  }))

test('contents that are binary or not UTF-8 are counted, and a byte order mark is dropped', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({
      'binary.txt': Buffer.from('text\0more'),
      'late.txt': Buffer.from(`${'x'.repeat(20_000)}\0`),
      'latin1.txt': Buffer.from([0x63, 0x61, 0x66, 0xe9]),
      'utf16.txt': Buffer.from('\ufefftext', 'utf16le'),
      'surrogate.txt': Buffer.from([0xed, 0xa0, 0x80]),
      'bom.txt': '\ufefftext',
      'empty.txt': '',
    })
    const run = await ingest(folder, { repository: url })
    assert.deepEqual([run.skipped.binary, run.skipped.encoding], [3, 2])
    assert.deepEqual(Object.fromEntries(run.sources.map((file) => [file.path, file.text])), {
      'bom.txt': 'text',
      'empty.txt': '',
    })
  }))

test('text beyond the total cap is counted', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({ a: '12345', b: '12345', c: '1' })
    const run = await ingest(folder, { repository: url, settings: { maxTotalBytes: 7 } })
    assert.deepEqual([run.sources.map((file) => file.path), run.skipped.overLimit], [['a', 'c'], 1])
  }))

test('a tree that holds .git or .. refuses the repository', () =>
  withRepository(async (folder, repository, url) => {
    const oid = await repository.tree([{ mode: '100644', oid: await repository.blob('x'), name: 'config' }])
    for (const name of ['.git', '..', '.GIT', 'git~1', '.g\u200cit']) {
      await repository.commitTree(await repository.tree([{ mode: '040000', oid, name }]))
      await assertFails(folder, { repository: url }, 'repository_refused')
      await repository.git(['update-ref', '-d', 'refs/heads/main'])
    }
  }))

test('an empty repository says so, and one whose HEAD names no branch is still read', () =>
  withRepository(async (folder, repository, url) => {
    await assertFails(folder, { repository: url }, 'repository_empty')
    await repository.git(['symbolic-ref', 'HEAD', 'refs/heads/gone'])
    const commit = await repository.commitFiles({ a: 'x' }, 'refs/heads/only')
    const run = await ingest(folder, { repository: url })
    assert.deepEqual([run.commit, run.branch], [commit, 'only'])
    assert.deepEqual(await readdir(join(folder, 'data/mirrors')), ['project'])
  }))

test('a ref that is missing, option-like or malformed is not found', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({ a: 'x' })
    const refs = [
      'missing',
      '--upload-pack=id',
      '-u',
      'a..b',
      '^main',
      'main^',
      'main~1',
      '@{-1}',
      'a\nb',
      '',
      'HEAD',
      'f'.repeat(40),
    ]
    for (const ref of refs) await assertFails(folder, { repository: url, ref }, 'ref_not_found')
  }))

test('a tag that leads to no commit is not found', () =>
  withRepository(async (folder, repository, url) => {
    await repository.commitFiles({ a: 'x' })
    await repository.git(['tag', 'blob', await repository.blob('just a blob')])
    await assertFails(folder, { repository: url, ref: 'blob' }, 'ref_not_found')
  }))

test('a folder that is no repository, or borrows objects from outside, is refused', () =>
  withRepository(async (folder, repository) => {
    await mkdir(join(folder, 'repos/plain'))
    await assertFails(folder, { repository: `file://${folder}/repos/plain` }, 'repository_not_found')
    await repository.commitFiles({ a: 'x' })
    await repository.git([
      'clone',
      '--quiet',
      '--bare',
      '--shared',
      repository.path,
      join(folder, 'repos/borrower.git'),
    ])
    const failed = await assertFails(folder, { repository: `file://${folder}/repos/borrower.git` }, 'fetch_failed')
    assert.ok(!failed.message.includes('/'))
  }))
