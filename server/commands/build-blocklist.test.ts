import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isCommonPassword } from '../accounts/blocklist.ts'
import { parseConfig } from '../platform/config.ts'
import { passwordKey } from '../platform/crypto/password-filter.ts'
import { buildBlocklistCommand } from './build-blocklist.ts'
import { readLines } from './read-lines.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-build-blocklist-'))
after(() => rmSync(folder, { recursive: true }))
const list = join(folder, 'list.txt')
const out = join(folder, 'out.filter')

async function build(content: string | Buffer) {
  writeFileSync(list, content)
  return buildBlocklistCommand(list, out)
}
/** As a server that starts with the file. */
function isListed(password: string): boolean {
  return isCommonPassword(parseConfig({ HIVESYNC_PASSWORD_BLOCKLIST: out }), password)
}

test('a list of passwords becomes a file that a server loads: each is refused as it is and in lower case', async () => {
  const outcome = await build('Zebra Tangle Quilt\r\n with spaces at its ends \nshort\n\ncafe\u0301 au lait sans sucre')
  assert.deepEqual([outcome.exitCode, outcome.json], [0, { lines: 3, skipped: 2, entries: 4, bytes: 108 }])
  for (const listed of [
    'Zebra Tangle Quilt',
    'ZEBRA tangle quilt',
    ' with spaces at its ends ',
    'caf\u00e9 au lait sans sucre',
  ])
    assert.equal(isListed(listed), true, listed)
  for (const other of ['with spaces at its ends', 'Zebra Tangle Quilt ']) assert.equal(isListed(other), false, other)
})

test('a list of SHA-1, with or without counts, in either case, is read as such', async () => {
  const sha1 = (text: string) => passwordKey(text).toString(16).padStart(16, '0') + '0'.repeat(24)
  const outcome = await build(`${sha1('a breached passphrase').toUpperCase()}:41\n${sha1('another breached one')}\n`)
  assert.equal(outcome.exitCode, 0)
  assert.equal(isListed('a breached passphrase'), true)
  assert.equal(isListed('another breached one'), true)
  assert.equal(isListed('a passphrase of nobody'), false)
})

test('lines that are no UTF-8 or longer than any password are left out, those around them are not', async () => {
  const content = Buffer.concat([
    Buffer.from('first good password\n'),
    Buffer.from([0xff, 0xfe, ...Buffer.from('latin password\n')]),
    Buffer.from(`${'x'.repeat(300_000)}\nlast good password`),
  ])
  const outcome = await build(content)
  assert.deepEqual(outcome.json, { lines: 2, skipped: 2, entries: 2, bytes: 84 })
  assert.ok(isListed('first good password') && isListed('last good password'))
})

test('a list without one usable password is refused, and the file that was there stays', async () => {
  await build('a passphrase that stays listed')
  const before = readFileSync(out)
  assert.equal((await build('short\n\n')).exitCode, 1)
  assert.equal((await buildBlocklistCommand(join(folder, 'nowhere'), out)).exitCode, 1)
  assert.ok(readFileSync(out).equals(before))
  assert.deepEqual(readdirSync(folder).sort(), ['list.txt', 'out.filter'])
})

test('what cannot be written leaves nothing behind', async () => {
  writeFileSync(list, 'a passphrase that stays listed')
  assert.equal((await buildBlocklistCommand(list, join(folder, 'nowhere', 'out'))).exitCode, 1)
  // The rename onto a folder fails after the file beside it was written.
  const taken = join(folder, 'taken')
  mkdirSync(taken)
  assert.equal((await buildBlocklistCommand(list, taken)).exitCode, 1)
  assert.ok(readdirSync(folder).every((name) => !name.endsWith('.part')))
})

test('the same list gives the same bytes, in whatever order its lines are', async () => {
  await build('one long password\nanother long password\n')
  const first = readFileSync(out)
  await build('another long password\none long password\none long password\n')
  assert.ok(readFileSync(out).equals(first))
})

test('lines are read whole and numbered, wherever the pieces of the file are cut', async () => {
  const lines = Array.from({ length: 20_000 }, (_, index) => `line ${index} ${'é'.repeat(index % 17)}`)
  writeFileSync(list, lines.join('\n'))
  const read: string[] = []
  for await (const { number, bytes } of readLines(list, 100)) {
    assert.equal(number, read.length + 1)
    read.push(String(bytes))
  }
  assert.deepEqual(read, lines)
})
