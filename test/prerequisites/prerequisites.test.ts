import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { throughPassableFolder } from './passable-checkout.ts'
import { describeMissing, findMissing, isRequired, listPrerequisites } from './prerequisites.ts'

const fine = { name: 'fine', package: 'a', skips: 'nothing', check: async () => {} }
const absent = {
  name: 'absent',
  package: 'b',
  skips: 'much',
  check: () => Promise.reject(new Error('spawn absent ENOENT\nmore')),
}

test('what is missing is named with its reason, what is skipped, and one command', async () => {
  const missing = await findMissing([fine, absent, { ...absent, name: 'second', package: 'a' }])
  assert.deepEqual(
    missing.map(({ name }) => name),
    ['absent', 'second'],
  )
  const text = describeMissing(missing)
  assert.match(text, /absent: spawn absent ENOENT \(skipped: much\)/)
  assert.match(text, /apt-get install -y a b /)
  assert.doesNotMatch(text, /fine|more/)
})

test('a service that does not answer is missing', async () => {
  // A port that was free a moment ago: nothing listens there.
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  assert.ok(address && typeof address === 'object')
  await new Promise((resolve) => server.close(resolve))
  const env = {
    HIVESYNC_TEST_DATABASE_URL: `postgres://nobody@127.0.0.1:${address.port}/nothing`,
    HIVESYNC_TEST_REDIS_URL: `redis://127.0.0.1:${address.port}`,
  }
  const services = listPrerequisites(env).filter(({ name }) => name === 'PostgreSQL' || name === 'Redis')
  const missing = await findMissing(services)
  assert.deepEqual(
    missing.map(({ name }) => name),
    ['PostgreSQL', 'Redis'],
  )
})

test('only CI and an explicit wish make missing prerequisites fail', () => {
  assert.equal(isRequired({ CI: 'true' }), true)
  assert.equal(isRequired({ HIVESYNC_TEST_REQUIRE_SERVICES: '1' }), true)
  assert.equal(isRequired({ CI: 'false', HIVESYNC_TEST_REQUIRE_SERVICES: '0' }), false)
  assert.equal(isRequired({}), false)
})

test('a command finds the checkout where other users can pass to it, when root keeps it in a closed folder', {
  skip: process.getuid?.() !== 0 && 'only root has jobs that run as other users',
}, (context) => {
  const closed = mkdtempSync(join(tmpdir(), 'hivesync-closed-'))
  context.after(() => rmSync(closed, { recursive: true }))
  const checkout = join(closed, 'checkout')
  mkdirSync(checkout, { mode: 0o755 })
  writeFileSync(join(checkout, 'file'), 'content', { mode: 0o644 })
  const read = ['setpriv', '--reuid=61000', '--clear-groups', 'cat', join(checkout, 'file')]
  const [program = '', ...args] = throughPassableFolder(checkout, read)
  assert.equal(spawnSync('setpriv', read.slice(1)).status, 1)
  assert.equal(spawnSync(program, args, { encoding: 'utf8' }).stdout, 'content')

  chmodSync(closed, 0o711)
  const passable = [...throughPassableFolder(checkout, read)]
  assert.deepEqual(passable, read)
})
