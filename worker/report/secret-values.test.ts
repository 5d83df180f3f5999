import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findSecretPatterns, isEnvFile, looksSecret, parseEnvFile, secretsOf } from './secret-values.ts'

const found = (sources: Parameters<typeof findSecretPatterns>[0]): string[] => findSecretPatterns(sources).map(String)

test('a variable is taken for a secret by a word of its name, not by a part of a word', () => {
  const secret =
    'API_TOKEN api_token githubToken DB_PASSWORD PASSWD SSH_PASSPHRASE AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID'
  const more =
    'CREDENTIALS APIKEY PRIVATE_KEY KEY signing-key SENTRY_DSN SESSION_COOKIE BASIC_AUTH DB_PASS DB_PWD CARD_PIN GH_PAT'
  for (const name of `${secret} ${more}`.split(' ')) assert.ok(looksSecret(name), name)
  const plain = 'PATH HOME USER PWD OLDPWD LANG KEYBOARD MONKEY AUTHOR COMPASS PINNED PATTERN NODE_ENV DEBUG'
  for (const name of plain.split(' ')) assert.ok(!looksSecret(name), name)
})

test('a file is taken for settings by its name', () => {
  for (const path of ['.env', '.env.local', 'app/.env', 'a/b/.env.production', 'prod.env', 'a/x.ENV'])
    assert.ok(isEnvFile(path), path)
  for (const path of ['env', 'env.ts', '.envrc', '.environment', 'a.env.ts', '.env/readme', 'x.environment'])
    assert.ok(!isEnvFile(path), path)
})

test('settings are read as shells and dotenv read them', () => {
  const text = [
    '# A remark=here',
    'A=plain-1',
    '  export B = spaced-2 # said of it',
    "C='single # kept'",
    'D="double \\"quoted\\"\\nline"',
    'E=`back-3`',
    'F="two\nlines"',
    'G: colon-4',
    'H=a#b',
    'I=',
    'no assignment',
  ].join('\r\n')
  assert.deepEqual(parseEnvFile(text), [
    ['A', 'plain-1'],
    ['A', 'plain-1'],
    ['B', 'spaced-2'],
    ['B', 'spaced-2 # said of it'],
    ['C', 'single # kept'],
    ['D', 'double \\"quoted\\"\\nline'],
    ['D', 'double "quoted"\nline'],
    ['E', 'back-3'],
    ['F', 'two\nlines'],
    ['G', 'colon-4'],
    ['G', 'colon-4'],
    ['H', 'a#b'],
    ['H', 'a#b'],
    ['I', ''],
    ['I', ''],
  ])
})

test('of settings the values that look like a secret are looked for, by their name or their looks', () => {
  const content = [
    'API_KEY=hunter',
    'URL=postgres://app:pa55word@db/app',
    'OTHER=Zx81-q7',
    'MODE=release mode',
    'HOST=https://api.example.com:8443/v1',
    'VERSION=10.20.30-1',
    'DATA_DIR=./data/files',
    'TOKEN=production',
    'SHORT_TOKEN=abcde',
  ].join('\n')
  const patterns = found({ files: [{ path: 'deploy/.env', content }] })
  for (const value of ['hunter', 'postgres://app:pa55word@db/app', 'Zx81-q7'])
    assert.ok(patterns.includes(value), value)
  const plain = ['release mode', 'https://api.example.com:8443/v1', '10.20.30-1', './data/files', 'production', 'abcde']
  for (const value of plain) assert.ok(!patterns.includes(value), value)
  assert.deepEqual(found({ files: [{ path: 'deploy/env.txt', content }] }), [])
})

test('of the environment the values of secret names are looked for, of secrets all of six characters and more', () => {
  const env = { LOG_LEVEL: 'verbose-1', API_TOKEN: 'hunter2', APP_SECRET: 'changeme', DB_PASSWORD: 'false' }
  const patterns = found({ env, secrets: { ANY: 'production', SHORT: 'abcde', SPACED: '  abc  ' } })
  for (const value of ['hunter2', 'production']) assert.ok(patterns.includes(value), value)
  for (const value of ['verbose-1', 'changeme', 'false', 'abcde', 'abc', '  abc  ', ''])
    assert.ok(!patterns.includes(value), value)
})

test('a value of several lines is looked for whole and by its lines, and without what surrounds it', () => {
  const patterns = found({ secrets: { A: ' line-one\r\n  line-two\nxyz\n' } })
  for (const value of ['line-one', 'line-two', 'line-one\r\n  line-two\nxyz'])
    assert.ok(patterns.includes(value), value)
  assert.ok(!patterns.includes('xyz'))
})

test('values come before encodings, which end at what memory allows', () => {
  const secrets = Object.fromEntries(
    Array.from({ length: 300 }, (_, i) => [`S${i}`, `${i}`.padStart(4, '0').padEnd(2000, '+~')]),
  )
  const patterns = findSecretPatterns({ secrets })
  assert.deepEqual(patterns.slice(0, 300).map(String), Object.values(secrets))
  assert.ok(patterns.length > 300)
  assert.ok(patterns.reduce((sum, { length }) => sum + length, 0) <= 1_000_000)
})

test('an input that nobody has judged yet is read as far as it is one', () => {
  for (const input of [{}, { env: null, files: {} }, { env: [1], files: [null, 1, { path: 1, content: 'x' }] }])
    assert.deepEqual(secretsOf({ input }), { secrets: {}, env: {}, files: [] })
  const files = [{ path: '.env', content: 'A=b' }]
  const input = { env: { A: 'x', B: 1 }, files: [...files, { path: '.env' }] }
  assert.deepEqual(secretsOf({ input, secrets: { C: 'y' } }), { secrets: { C: 'y' }, env: { A: 'x' }, files })
})
