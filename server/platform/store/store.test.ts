import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { openKeyring } from '../crypto/keyring.ts'
import { generateSecret } from '../crypto/secret-strength.ts'
import { AppError } from '../errors.ts'
import { createRandom } from '../random.ts'
import { openStore } from './open-store.ts'
import type { Store } from './store.ts'

const clock = { now: () => 1_700_000_000_000 }
const secret = generateSecret()

async function makeStore(test: TestContext, isEncrypted: boolean) {
  const folder = join(await mkdtemp(join(tmpdir(), 'hivesync-store-test-')), 'store')
  test.after(() => rm(join(folder, '..'), { recursive: true, force: true }))
  const open = (secrets = [secret]): Store =>
    openStore({ folder, isEncrypted }, { clock, random: createRandom(clock), keyring: openKeyring(secrets) })
  const pathOf = (key: string): string => join(folder, key.slice(0, 2), key)
  return { folder, open, store: open(), pathOf }
}

async function* inPieces(content: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < content.length; start += size) yield content.subarray(start, start + size)
}

async function gather(content: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks = []
  for await (const chunk of content) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const unavailable = (error: unknown): boolean => error instanceof AppError && error.code === 'storage_unavailable'
const limits = { maxBytes: 1_000_000 }
const sizes = [0, 1, 65_535, 65_536, 65_537, 131_072, 200_001]

test('what is not to be sealed never is, by whatever chance a key ends', async (t) => {
  const { folder, pathOf } = await makeStore(t, false)
  // As often as not a random key ends like one of a sealed content.
  let drawn = 0
  const random = { ...createRandom(clock), bytes: () => Buffer.alloc(32, drawn++ % 2 === 0 ? 0xfe : drawn) }
  const store = openStore({ folder, isEncrypted: false }, { clock, random, keyring: openKeyring([secret]) })
  const content = Buffer.from('in the clear')
  for (let i = 0; i < 3; i++) {
    const { key } = await store.put(inPieces(content), limits)
    assert.ok((await readFile(pathOf(key))).equals(content))
  }
})

for (const isEncrypted of [false, true])
  describe(isEncrypted ? 'an encrypted store' : 'a store', () => {
    test('gives back what it was given, with size and digest, under a key that says nothing', async (t) => {
      const { store } = await makeStore(t, isEncrypted)
      for (const size of sizes) {
        const content = randomBytes(size)
        const { key, bytes, sha256 } = await store.put(inPieces(content), limits)
        assert.match(key, isEncrypted ? /^[0-9a-f]{64}e$/ : /^[0-9a-f]{64}$/)
        assert.equal(bytes, size)
        assert.equal(sha256, createHash('sha256').update(content).digest('hex'))
        assert.equal(await store.size(key), size)
        assert.ok(content.equals(await gather(await store.get(key))))
      }
    })

    test('gives any range of it', async (t) => {
      const { store } = await makeStore(t, isEncrypted)
      const content = randomBytes(200_001)
      const { key } = await store.put(inPieces(content), limits)
      const place = fc.oneof(fc.nat(200_000), fc.constantFrom(0, 65_535, 65_536, 131_071, 131_072, 200_000))
      await fc.assert(
        fc.asyncProperty(place, place, async (a, b) => {
          const [start, end] = [Math.min(a, b), Math.max(a, b)]
          assert.ok(content.subarray(start, end + 1).equals(await gather(await store.get(key, { start, end }))))
        }),
        { numRuns: 40 },
      )
    })

    test('is closed to others, and never shows a part of a content', async (t) => {
      const { store, folder, pathOf } = await makeStore(t, isEncrypted)
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield randomBytes(100_000)
        throw new Error('hung up')
      }
      await assert.rejects(store.put(broken(), limits), /hung up/)
      const tooLong = store.put(inPieces(randomBytes(11)), { maxBytes: 10 })
      await assert.rejects(tooLong, (error) => error instanceof AppError && error.code === 'payload_too_large')
      assert.deepEqual(await readdir(folder), ['drafts'])
      assert.deepEqual(await readdir(join(folder, 'drafts')), [])
      const { key } = await store.put(inPieces(randomBytes(10)), { maxBytes: 10 })
      assert.equal((await stat(folder)).mode & 0o777, 0o700)
      assert.equal((await stat(pathOf(key))).mode & 0o777, 0o600)
      assert.equal((await stat(pathOf(key))).nlink, 1)
    })

    test('lists, removes, and forgets what a crash left half-written', async (t) => {
      const { store, folder } = await makeStore(t, isEncrypted)
      const { key } = await store.put(inPieces(randomBytes(10)), limits)
      await writeFile(join(folder, 'drafts', 'a'.repeat(64)), 'half')
      await writeFile(join(folder, 'notes.txt'), 'of an operator')
      const listed = []
      for await (const found of store.list()) listed.push(found)
      assert.deepEqual(listed, [{ key, storedAt: clock.now() }])
      assert.equal(await store.removeUnfinished(clock.now()), 0)
      assert.equal(await store.removeUnfinished(Number.MAX_SAFE_INTEGER), 1)
      await store.remove(key)
      await store.remove(key)
      assert.equal(await store.size(key), undefined)
      await assert.rejects(store.get(key), unavailable)
    })

    test('takes no other name for a key, and follows no link', async (t) => {
      const { store, pathOf } = await makeStore(t, isEncrypted)
      for (const key of [
        '',
        '..',
        '../../etc/passwd',
        'A'.repeat(64),
        'a'.repeat(63),
        `${'a'.repeat(64)}\0`,
        `${'a'.repeat(63)}/`,
      ]) {
        await assert.rejects(store.get(key), RangeError)
        await assert.rejects(store.size(key), RangeError)
        await assert.rejects(async () => store.remove(key), RangeError)
      }
      const { key } = await store.put(inPieces(randomBytes(10)), limits)
      await rm(pathOf(key))
      await symlink('/etc/hostname', pathOf(key))
      await assert.rejects(store.get(key))
    })

    test('that cannot write says so, and works again once it can', async (t) => {
      const { store, folder } = await makeStore(t, isEncrypted)
      await writeFile(folder, 'in the way')
      await assert.rejects(store.put(inPieces(randomBytes(10)), limits), unavailable)
      await rm(folder)
      await store.put(inPieces(randomBytes(10)), limits)
    })
  })

describe('an encrypted content', () => {
  const content = randomBytes(200_000)

  test('is not to be read on the disk', async (t) => {
    const { store, pathOf } = await makeStore(t, true)
    const { key } = await store.put(inPieces(Buffer.from('a secret '.repeat(100))), limits)
    assert.ok(!(await readFile(pathOf(key))).includes('secret'))
  })

  test('that was changed, cut off, reordered or put in another’s place does not open', async (t) => {
    const { store, pathOf } = await makeStore(t, true)
    const { key } = await store.put(inPieces(content), limits)
    const other = await store.put(inPieces(content), limits)
    const stored = await readFile(pathOf(key))
    const frame = 65_536 + 16
    const header = stored.subarray(0, 92)
    const frames = [0, 1, 2, 3].map((i) => stored.subarray(92 + i * frame, 92 + (i + 1) * frame))
    const [a = stored, b = stored, c = stored, d = stored] = frames
    const flipped = Buffer.from(stored)
    flipped.writeUInt8(flipped.readUInt8(100_000) ^ 1, 100_000)
    const changes = {
      flipped,
      'cut at a frame': Buffer.concat([header, a, b, c]),
      'cut to one frame': Buffer.concat([header, a]),
      'cut in a frame': stored.subarray(0, -1),
      'cut to the header': header,
      'cut in the header': stored.subarray(0, 50),
      reordered: Buffer.concat([header, b, a, c, d]),
      repeated: Buffer.concat([header, a, a, b, c, d]),
      longer: Buffer.concat([stored, d]),
      'the other’s': await readFile(pathOf(other.key)),
    }
    for (const [what, bytes] of Object.entries(changes)) {
      await writeFile(pathOf(key), bytes)
      await assert.rejects(async () => gather(await store.get(key)), what)
    }
    await writeFile(pathOf(key), stored)
    assert.ok(content.equals(await gather(await store.get(key))))
  })

  test('opens after the secret was rotated, and after encryption was switched off', async (t) => {
    const { store, open, folder } = await makeStore(t, true)
    const { key } = await store.put(inPieces(content), limits)
    assert.ok(content.equals(await gather(await open([generateSecret(), secret]).get(key))))
    await assert.rejects(async () => gather(await open([generateSecret()]).get(key)))
    const plain = openStore(
      { folder, isEncrypted: false },
      { clock, random: createRandom(clock), keyring: openKeyring([secret]) },
    )
    assert.ok(content.equals(await gather(await plain.get(key))))
  })
})
