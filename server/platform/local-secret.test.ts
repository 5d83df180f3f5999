import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { ConfigError } from './config.ts'
import { findSecretWeakness, generateSecret } from './crypto/secret-strength.ts'
import { readLocalSecret } from './local-secret.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hivesync-local-secret-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('the first start makes a strong secret that only its owner can read, later ones find it', () => {
  const secret = readLocalSecret(folder)
  assert.equal(findSecretWeakness(secret), undefined)
  assert.equal(statSync(join(folder, 'secret')).mode & 0o777, 0o600)
  assert.equal(readLocalSecret(folder), secret)
  assert.deepEqual(readdirSync(folder), ['secret'])
})

test('processes that start at once agree on one secret', async () => {
  const script = `import { readLocalSecret } from './local-secret.ts'; process.stdout.write(readLocalSecret(process.argv[1]))`
  const secrets = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script, folder], {
        cwd: import.meta.dirname,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let output = ''
      child.stdout.on('data', (chunk) => {
        output += chunk
      })
      assert.deepEqual(await once(child, 'close'), [0, null])
      return output
    }),
  )
  assert.equal(new Set(secrets).size, 1)
  assert.deepEqual(readdirSync(folder), ['secret'])
})

test('what a start left that died half way stops no later one', () => {
  writeFileSync(join(folder, `secret.${process.pid}.new`), 'half')
  assert.equal(findSecretWeakness(readLocalSecret(folder)), undefined)
})

test('a file that others can read, or that holds no strong secret, is refused and kept', () => {
  const path = join(folder, 'secret')
  writeFileSync(path, generateSecret())
  for (const mode of [0o604, 0o640, 0o620, 0o666]) {
    chmodSync(path, mode)
    assert.throws(
      () => readLocalSecret(folder),
      (error) => error instanceof ConfigError && /chmod 600/.test(error.message),
    )
  }
  chmodSync(path, 0o600)
  for (const text of ['', '\n', 'hunter2', generateSecret().slice(0, 20)]) {
    writeFileSync(path, text)
    assert.throws(
      () => readLocalSecret(folder),
      (error) => error instanceof ConfigError && /from a backup/.test(error.message) && !/hunter2/.test(error.message),
    )
  }
})
