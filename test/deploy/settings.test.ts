// The example files of settings are complete, harmless and accepted.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parseConfig, plainNames, secretNames } from '../../server/platform/config.ts'
import { generateSecret } from '../../server/platform/crypto/secret-strength.ts'
import { parseWorkerConfig, workerSettings } from '../../worker/config.ts'
import { readText } from '../architecture/source-tree.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-settings-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** Every setting of a file, set or shown with its default. */
function readExample(path: string) {
  return readText(path)
    .split('\n')
    .flatMap((line) => {
      const [, mark, name, value] = /^(#?)([A-Z][A-Z0-9_]+)=(.*)$/.exec(line) ?? []
      return name === undefined ? [] : [{ name, value: value ?? '', isSet: mark === '' }]
    })
}

const example = readExample('deploy/settings/server.env.example')
const workerExample = readExample('deploy/settings/worker.env.example')

test('the example of the server names every setting once, and secrets only by their files', () => {
  const secrets: ReadonlySet<string> = new Set(secretNames)
  const expected = [...secretNames.map((name) => `${name}_FILE`), ...plainNames]
  assert.deepEqual(example.map(({ name }) => name).sort(), expected.sort())
  assert.deepEqual(
    example.filter(({ name }) => secrets.has(name)),
    [],
  )
  for (const { name, value } of example.filter(({ name }) => secretNames.some((secret) => name === `${secret}_FILE`)))
    assert.match(value, /^\/etc\/hivesync\/[a-z-]+$/, name)
})

test('the example of the server is accepted as it stands, with a secret in its file', () => {
  const secret = join(folder, 'secret')
  writeFileSync(secret, generateSecret(), { mode: 0o600 })
  const env = Object.fromEntries(example.filter(({ isSet }) => isSet).map(({ name, value }) => [name, value]))
  const config = parseConfig({ ...env, HIVESYNC_SECRET_FILE: secret })
  assert.deepEqual([config.profile, config.embeddedWorker], ['production', false])
})

test('the example of the worker names every setting once, and is accepted with a token in its file', () => {
  assert.deepEqual(workerExample.map(({ name }) => name).sort(), [...workerSettings].sort())
  const token = join(folder, 'token')
  writeFileSync(token, generateSecret(), { mode: 0o600 })
  const env = Object.fromEntries(workerExample.filter(({ isSet }) => isSet).map(({ name, value }) => [name, value]))
  assert.equal(parseWorkerConfig({ ...env, HIVESYNC_WORKER_TOKEN_FILE: token }).server, 'https://hive.example.net')
})

test('what the example shows as a default is one: setting it changes nothing', () => {
  const defaults = parseConfig({})
  const shown = example.filter(
    ({ isSet, value }) => !isSet && !/example|\/|10\.|sslmode|127\.|9464|19456|hivesync$/.test(value),
  )
  assert.ok(shown.length >= 10)
  for (const { name, value } of shown) assert.deepEqual(parseConfig({ [name]: value }), defaults, name)
})
