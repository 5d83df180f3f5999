import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Header, type Pack, pack } from 'tar-stream'
import { createSha256 } from '../enrol/random.ts'
import { createOutputReader, type OutputManifest } from './output-archive.ts'

type Entry = Partial<Header> & { name: string; content?: string }

async function bytesOf(archive: Pack): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function pack1(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack()
  for (const { content, ...header } of entries) {
    if (content === undefined) archive.entry(header).end(undefined)
    else archive.entry(header, content)
  }
  archive.finalize()
  return await bytesOf(archive)
}

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hs-outputs-'))
})
after(() => rm(folder, { recursive: true }))

async function read(bytes: Buffer, pieceBytes = 1000, into?: string): Promise<OutputManifest> {
  const reader = createOutputReader(createSha256, into ?? (await mkdtemp(join(folder, 'spool-'))))
  for (let start = 0; start < bytes.length; start += pieceBytes) reader.write(bytes.subarray(start, start + pieceBytes))
  return await reader.finish()
}

test('regular files are listed by path with size and digest, in any cut of the stream', async () => {
  const entries = [
    { name: './', type: 'directory' as const },
    { name: './b/c', content: 'hello' },
    { name: './a', content: '' },
  ]
  const bytes = await pack1(entries)
  for (const pieceBytes of [1, 511, 100_000]) {
    assert.deepEqual(await read(bytes, pieceBytes), {
      outputs: [
        { path: 'a', bytes: 0, sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', name: '2' },
        {
          path: 'b/c',
          bytes: 5,
          sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
          name: '1',
        },
      ],
      skipped: 0,
      unlisted: 0,
      damaged: false,
      spoolFault: undefined,
    })
  }
})

test('links, devices and names that lead out are counted and left out', async () => {
  const hostile: Entry[] = [
    { name: '/etc/passwd', content: 'x' },
    { name: '../up', content: 'x' },
    { name: 'a/../../up', content: 'x' },
    { name: 'line\nbreak', content: 'x' },
    { name: 'back\\slash', content: 'x' },
    { name: 'link', type: 'symlink', linkname: '/etc/passwd', size: 0 },
    { name: 'hard', type: 'link', linkname: 'good', size: 0 },
    { name: 'fifo', type: 'fifo', size: 0 },
    { name: 'device', type: 'character-device', size: 0, devmajor: 1, devminor: 1 },
    { name: `${'deep/'.repeat(100)}file`, content: 'x' },
  ]
  const manifest = await read(await pack1([...hostile, { name: 'good', content: 'x' }]))
  assert.deepEqual([manifest.outputs.map(({ path }) => path), manifest.skipped], [['good'], hostile.length])
})

test('of two entries with one name the later counts', async () => {
  const { outputs } = await read(
    await pack1([
      { name: 'a', content: 'old' },
      { name: './a', content: 'newer' },
    ]),
  )
  assert.deepEqual(
    outputs.map(({ path, bytes }) => [path, bytes]),
    [['a', 5]],
  )
})

test('a million small names do not fill a completion', async () => {
  const many = Array.from({ length: 3000 }, (_, index) => ({ name: `file-${index}`, content: '' }))
  const { outputs, unlisted } = await read(await pack1(many), 65_536)
  assert.equal(outputs.length + unlisted, 3000)
  assert.ok(unlisted > 0 && JSON.stringify(outputs).length < 170 * 1024)
})

test('what is no archive, or ends early, is told and never thrown', async () => {
  const good = await pack1([
    { name: 'first', content: 'x' },
    { name: 'second', content: 'y'.repeat(5000) },
  ])
  const cut = await read(good.subarray(0, 3000))
  assert.deepEqual([cut.damaged, cut.outputs.map(({ path }) => path)], [true, ['first']])
  for (const bytes of [randomBytes(20_000), Buffer.alloc(700, 'a'), Buffer.from('x')]) {
    const { damaged, outputs } = await read(bytes)
    assert.deepEqual([damaged, outputs], [true, []])
  }
  assert.deepEqual((await read(Buffer.alloc(0))).damaged, false)
})

test('a header that claims a huge extended name is refused instead of waited for', async () => {
  const bytes = await pack1([{ name: 'x'.repeat(300), content: 'y' }])
  bytes.write('77777777777\0', 124, 'latin1') // the size of the pax header: 8 GiB
  bytes.write('        ', 148, 'latin1')
  const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  assert.equal((await read(bytes)).damaged, true)
})

test('contents are kept under numbers of ours, closed to others; of two of one name only the later one', async () => {
  const into = await mkdtemp(join(folder, 'kept-'))
  const { outputs } = await read(
    await pack1([
      { name: 'b/c', content: 'old' },
      { name: 'big', content: 'y'.repeat(200_000) },
      { name: './b/c', content: 'newer' },
      { name: '../out', content: 'never' },
    ]),
    777,
    into,
  )
  const texts = await Promise.all(outputs.map(({ name }) => readFile(join(into, name), 'utf8')))
  assert.deepEqual(
    outputs.map(({ path }, index) => [path, texts[index]?.length]),
    [
      ['b/c', 5],
      ['big', 200_000],
    ],
  )
  assert.deepEqual((await readdir(into)).sort(), outputs.map(({ name }) => name).sort())
  for (const name of await readdir(into)) assert.equal((await stat(join(into, name))).mode & 0o777, 0o600)
})

test('what cannot be written is listed all the same, and the reason told', async () => {
  const into = await mkdtemp(join(folder, 'gone-'))
  await rm(into, { recursive: true })
  const { outputs, spoolFault } = await read(await pack1([{ name: 'a', content: 'x' }]), 100, into)
  assert.deepEqual([outputs.map(({ path }) => path), spoolFault], [['a'], 'ENOENT'])
})
