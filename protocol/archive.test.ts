import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { type ArchiveLimits, ArchiveRefused, createArchiveCheck } from './archive.ts'
import { gnuName, hostileArchives, paxHeader, paxRecord, tarEntry, tarOf } from './test-tar.ts'

const wide: ArchiveLimits = { unpackedBytes: 100_000_000, entries: 100_000 }

/** What the check says of an archive that arrives in pieces of this size. */
async function judge(archive: Buffer, { limits = wide, step = 64 * 1024 } = {}) {
  const check = createArchiveCheck(limits)
  try {
    for (let start = 0; start < archive.length; start += step) await check.write(archive.subarray(start, start + step))
    return await check.end()
  } finally {
    check.close()
  }
}
const refused = (archive: Buffer, options: Parameters<typeof judge>[1] = {}) =>
  assert.rejects(judge(archive, options), ArchiveRefused)

describe('an archive is refused that holds', () => {
  for (const [what, archive] of Object.entries(hostileArchives))
    test(what, async () => {
      await refused(archive)
      await refused(archive, { step: 1 })
      await refused(gzipSync(archive))
    })
})

describe('an archive is taken', () => {
  const files = ['archive.ts', 'archive.test.ts', 'package.json']
  const folder = import.meta.dirname
  const made = {
    'that tar makes': ['tar', '-c', '-C', folder, ...files],
    'that tar makes in the format of POSIX': ['tar', '--format=posix', '-c', '-C', folder, ...files],
    'of a whole folder': ['tar', '-c', '-C', folder, '.'],
    'that Python makes': [
      'python3',
      '-c',
      'import sys, tarfile\nwith tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar: tar.add(sys.argv[1], "sources")',
      folder,
    ],
  }
  for (const [what, [program = '', ...args]] of Object.entries(made))
    test(what, async () => {
      const archive = execFileSync(program, args, { maxBuffer: 1e8 })
      const { unpackedBytes, entries } = await judge(archive)
      assert.equal(unpackedBytes, archive.length)
      assert.ok(entries >= files.length)
      assert.deepEqual(await judge(gzipSync(archive)), { unpackedBytes, entries })
    })

  test('with long names, once said', async () => {
    const long = `${'folder/'.repeat(20)}file`
    assert.equal(
      (await judge(tarOf(paxHeader(paxRecord('path', long), paxRecord('mtime', '1.5')), { name: 'x' }))).entries,
      1,
    )
    assert.equal((await judge(tarOf(gnuName(long), { name: 'x' }))).entries, 1)
    assert.equal((await judge(tarOf({ name: 'file', prefix: 'folder' }, { name: 'folder/', type: '5' }))).entries, 2)
    const global = tarEntry({ name: 'g', type: 'g', content: paxRecord('comment', 'of a commit') })
    assert.equal((await judge(tarOf(global, { name: 'x' }))).entries, 1)
  })

  test('of nothing but its end', async () => assert.equal((await judge(tarOf())).entries, 0))

  test('alike in whatever pieces it comes', async () => {
    const archive = tarOf({ name: 'd/', type: '5' }, gnuName(`d/${'n'.repeat(150)}`), {
      name: 'n',
      content: 'x'.repeat(700),
    })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1500 }), fc.boolean(), async (step, isPacked) => {
        const found = await judge(isPacked ? gzipSync(archive) : archive, { step })
        assert.deepEqual(found, { unpackedBytes: archive.length, entries: 2 })
      }),
      { numRuns: 30 },
    )
  })
})

describe('an archive is refused beyond', () => {
  const archive = tarOf({ name: 'a', content: 'x'.repeat(2000) }, { name: 'b' })

  test('as many files and folders as may be', async () => {
    await refused(archive, { limits: { ...wide, entries: 1 } })
    await judge(archive, { limits: { ...wide, entries: 2 } })
  })

  test('its size when unpacked, also of a file that is only announced', async () => {
    await refused(archive, { limits: { ...wide, unpackedBytes: archive.length - 1 } })
    await refused(gzipSync(archive), { limits: { ...wide, unpackedBytes: archive.length - 1 } })
    await judge(archive, { limits: { ...wide, unpackedBytes: archive.length } })
    const check = createArchiveCheck({ ...wide, unpackedBytes: 1_000_000 })
    await assert.rejects(check.write(tarEntry({ name: 'a', size: 2_000_000 })), /larger than/)
  })

  test('two hundred times its packed size, long before it is unpacked', async () => {
    const bomb = gzipSync(tarOf({ name: 'zeros', content: Buffer.alloc(10_000_000) }), { level: 9 })
    const check = createArchiveCheck(wide)
    await assert.rejects(check.write(bomb.subarray(0, bomb.length / 2)), /200 times/)
    check.close()
  })

  test('names that would fill the memory', async () => {
    const name = (i: number): Buffer =>
      gnuName(
        `${String(i).padStart(6, '0')}${'n'.repeat(240)}/${'m'.repeat(250)}/${'o'.repeat(250)}/${'p'.repeat(240)}`,
      )
    const check = createArchiveCheck({ unpackedBytes: 1e9, entries: 1e6 })
    const fill = async (): Promise<void> => {
      for (let i = 0; i < 10_000; i++) await check.write(Buffer.concat([name(i), tarEntry({ name: 'x' })]))
    }
    await assert.rejects(fill(), /names are too long altogether/)
  })
})

describe('gzip data is refused', () => {
  const archive = tarOf({ name: 'a', content: 'x'.repeat(2000) })
  const packed = gzipSync(archive)

  test('that is cut off anywhere', async () => {
    for (const length of [3, 12, packed.length >> 1, packed.length - 8, packed.length - 1])
      await refused(packed.subarray(0, length))
  })

  test('that is damaged', async () => {
    const damaged = Buffer.from(packed)
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 5) ^ 1, damaged.length - 5)
    await refused(damaged)
  })

  test('behind whose end something stands', async () => {
    await refused(Buffer.concat([packed, Buffer.from('more')]))
    await refused(Buffer.concat([packed, Buffer.alloc(1)]))
    await refused(Buffer.concat([packed, Buffer.alloc(100)]), { step: packed.length })
    await refused(Buffer.concat([packed, gzipSync(archive)]))
  })
})
