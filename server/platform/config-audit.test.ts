import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ConfigError, parseConfig } from './config.ts'

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    parseConfig(env)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.problems
  }
}

describe('the settings of the audit log', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hivesync-config-'))
  })
  after(() => rm(folder, { recursive: true }))

  test('its key is an Ed25519 key that nobody else can read', async () => {
    const path = join(folder, 'key')
    const pemOf = (type: 'ed25519' | 'x25519') =>
      generateKeyPairSync(type as 'ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' })
    await writeFile(path, pemOf('ed25519'), { mode: 0o600 })
    assert.match(parseConfig({ HIVESYNC_AUDIT_KEY_FILE: path }).audit.keyPem ?? '', /BEGIN PRIVATE KEY/)
    await chmod(path, 0o640)
    assert.match(problemsOf({ HIVESYNC_AUDIT_KEY_FILE: path }).join(), /others can read/)
    await chmod(path, 0o600)
    for (const text of [pemOf('x25519'), 'not a key', '']) {
      await writeFile(path, text)
      assert.match(problemsOf({ HIVESYNC_AUDIT_KEY_FILE: path }).join(), /must name an Ed25519 private key/)
    }
    assert.match(problemsOf({ HIVESYNC_AUDIT_KEY_FILE: join(folder, 'missing') }).join(), /cannot be read/)
  })

  test('its sink is a file, a syslog receiver or an https address, and nothing else', () => {
    const sink = (text: string) => parseConfig({ HIVESYNC_AUDIT_SINK: text }).audit.sink
    assert.deepEqual(sink('file:///var/log/hive/audit.jsonl'), { kind: 'file', path: '/var/log/hive/audit.jsonl' })
    assert.deepEqual(sink('syslog://logs:514'), { kind: 'syslog', host: 'logs', port: 514, isTls: false })
    assert.deepEqual(sink('syslogs://[::1]:6514'), { kind: 'syslog', host: '::1', port: 6514, isTls: true })
    assert.deepEqual(sink('https://siem.example.net/in'), {
      kind: 'webhook',
      url: 'https://siem.example.net/in',
      token: null,
    })
    assert.equal(parseConfig({}).audit.sink, null)
    const odd = [
      'nowhere',
      'http://siem.example.net/',
      'file://host/x',
      'file:///folder/',
      'file:///a%2fb',
      'syslog://logs',
      'ftp://x/',
    ]
    for (const text of [...odd, 'syslog://user:secret@logs:514', 'https://user:secret@x/', 'syslog://logs:514/path']) {
      const found = problemsOf({ HIVESYNC_AUDIT_SINK: text }).join()
      assert.match(found, /HIVESYNC_AUDIT_SINK must be/, text)
      assert.doesNotMatch(found, /secret/)
    }
    const token = { HIVESYNC_AUDIT_SINK: 'syslog://logs:514', HIVESYNC_AUDIT_SINK_TOKEN: 'x' }
    assert.match(problemsOf(token).join(), /is for a sink that is an https/)
  })

  test('nothing is pruned unless it says after how many days', () => {
    assert.equal(parseConfig({}).audit.retentionDays, null)
    assert.equal(parseConfig({ HIVESYNC_AUDIT_RETENTION_DAYS: '400' }).audit.retentionDays, 400)
    assert.equal(problemsOf({ HIVESYNC_AUDIT_RETENTION_DAYS: '-1' }).length, 1)
  })

  test('roles are for PostgreSQL, and their addresses are held to the same rules as the server’s', () => {
    const name = 'HIVESYNC_DATABASE_MIGRATION_URL'
    assert.match(problemsOf({ [name]: 'postgres://owner@127.0.0.1/hive' }).join(), /SQLite has no roles/)
    const runtime = { HIVESYNC_DATABASE_URL: 'postgres://runtime@127.0.0.1/hive' }
    assert.deepEqual(problemsOf({ ...runtime, [name]: 'postgres://owner@127.0.0.1/hive' }), [])
    assert.match(problemsOf({ ...runtime, [name]: 'mysql://x' }).join(), /must be postgres:/)
    const production = {
      HIVESYNC_PROFILE: 'production',
      HIVESYNC_PUBLIC_URL: 'https://x.example',
      HIVESYNC_SECRET: 'x',
    }
    const found = problemsOf({
      ...production,
      ...runtime,
      HIVESYNC_DATABASE_MAINTENANCE_URL: 'postgres://m@db.example.net/hive',
    })
    assert.match(found.join(), /HIVESYNC_DATABASE_MAINTENANCE_URL must say sslmode=verify-full/)
  })
})
