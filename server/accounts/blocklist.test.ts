import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { identitiesOn, password } from '../../test/harness/identities.ts'
import { type Config, ConfigError, parseConfig } from '../platform/config.ts'
import { buildPasswordFilter, passwordKey } from '../platform/crypto/password-filter.ts'
import { listCommonPasswords } from './blocklist/candidates.ts'
import { generateBlocklist } from './blocklist/generate.ts'
import { isCommonPassword, openBlocklist, shippedFilterPath } from './blocklist.ts'

const common: string[] = createRequire(import.meta.url)('@zxcvbn-ts/language-common/src/passwords.json')
const folder = mkdtempSync(join(tmpdir(), 'hivesync-blocklist-'))
after(() => rmSync(folder, { recursive: true }))

function configWith(blocklist?: Buffer): Config {
  const path = join(folder, 'operators.filter')
  if (blocklist === undefined) return parseConfig({})
  writeFileSync(path, blocklist)
  return parseConfig({ HIVESYNC_PASSWORD_BLOCKLIST: path })
}
const filterOf = (...passwords: string[]) => buildPasswordFilter(BigUint64Array.from(passwords, passwordKey)).bytes

test('the list that comes along is what its generator makes of the published one, to the byte', () => {
  const made = generateBlocklist(common)
  assert.ok(made.equals(readFileSync(shippedFilterPath)), 'run server/accounts/blocklist/generate.ts')
  assert.ok(made.length <= 400_000, `${made.length} bytes`)
})

test('it has far more than 3,000 entries that fit the rules where a password stands alone', () => {
  const entries = [...listCommonPasswords(common)]
  const config = configWith()
  const long = entries.filter((entry) => [...entry].length >= 15)
  assert.ok(long.length >= 100_000, String(long.length))
  assert.ok(long.every((entry) => isCommonPassword(config, entry)))
  assert.ok(entries.length - long.length >= 17_000, 'and those for people with a second factor')
})

test('what people make of common passwords where 15 characters are demanded is refused, in whatever case', () => {
  const config = configWith()
  const refused = [
    'passwordpassword',
    'PasswordPassword',
    'monkeymonkeymonkey',
    'password password',
    'qwertyuiopasdfghjkl',
    '1qaz2wsx3edc4rfv',
    'mnbvcxzlkjhgfdsapoiuytrewq',
    '123456789012345',
    'abcdefghijklmnop',
    'aaaaaaaaaaaaaaa',
    '                    ',
    'password123456789',
    'Christopher2019',
    'motherfucker2024!',
    'To be, or not to be'.replaceAll(',', ''),
    'correcthorsebatterystaple',
    'correct horse battery staple',
    'Correct-Horse-Battery-Staple',
    'MayTheForceBeWithYou',
    'the quick brown fox jumps over the lazy dog',
    'baseball-football',
  ]
  for (const text of refused) assert.equal(isCommonPassword(config, text), true, text)
})

test('the whole password is compared: one that only contains a common one passes', () => {
  const config = configWith()
  for (const text of [
    'passwordpassword and my three red kettles',
    'zebra tangle 44 quilted moon',
    `${'a'.repeat(15)}b`,
  ])
    assert.equal(isCommonPassword(config, text), false, text)
})

test('the operator’s list counts besides the one that comes along', () => {
  const config = configWith(filterOf('our old wifi passphrase'))
  assert.equal(isCommonPassword(config, 'our old wifi passphrase'), true)
  assert.equal(isCommonPassword(config, 'Our Old Wifi Passphrase'), true)
  assert.equal(isCommonPassword(config, 'passwordpassword'), true)
  assert.equal(isCommonPassword(configWith(), 'our old wifi passphrase'), false)
})

test('an operator’s list that is missing, damaged or something else is a refused configuration that names the setting', () => {
  const damaged = filterOf('our old wifi passphrase')
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1)
  const missing = parseConfig({ HIVESYNC_PASSWORD_BLOCKLIST: join(folder, 'nowhere') })
  const directory = parseConfig({ HIVESYNC_PASSWORD_BLOCKLIST: folder })
  for (const config of [missing, directory, configWith(damaged), configWith(Buffer.from('password\n'))]) {
    assert.throws(
      () => openBlocklist(config),
      (error) =>
        error instanceof ConfigError && error.problems.every((text) => text.includes('HIVESYNC_PASSWORD_BLOCKLIST')),
    )
  }
})

identitiesOn((open) => {
  test('a common password is refused at registration with the reason, and the same person may choose another', async () => {
    const hive = await open()
    await hive.setUp()
    const register = (chosen: string, username = 'grace') =>
      hive.call('POST', '/api/v1/auth/register', {
        body: { email: `${username}@hive.test`, username, password: chosen },
      })
    const refused = await register('PasswordPassword')
    assert.deepEqual([refused.status, refused.body.code], [400, 'weak_password'])
    assert.equal(refused.body.detail, 'The password is one of the most common passwords')
    assert.equal((await register('hivesync-hivesync')).body.code, 'weak_password')
    assert.equal((await register(password)).status, 201)
    assert.equal((await register(`${'x'.repeat(1020)}y1z2`, 'long')).status, 201)
    assert.equal((await register('🐝🦋🐞'.repeat(22), 'bee')).status, 201)
    const rows = await hive.ctx.db.kysely.selectFrom('users').select('passwordShortAt').execute()
    assert.ok(rows.every(({ passwordShortAt }) => passwordShortAt === null))
  })
})
