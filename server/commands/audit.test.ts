// The commands as an operator runs them: processes of their own, beside a server that has the database open.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { writeVerifierKey } from '@hivesync/protocol/signed-note.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { listVerifiers } from '../audit/keys.ts'
import { findLastCheckpoint } from '../audit/queries.ts'
import { record, tamper } from '../audit/test-log.ts'

const root = join(import.meta.dirname, '..', '..')

async function hivesync(env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [join(root, 'bin', 'hivesync.ts'), ...args, '--json'], {
    env: { PATH: process.env.PATH, HOME: tmpdir(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code, json: out === '' ? undefined : JSON.parse(out), errors }
}

describeHive('the audit commands', (open) => {
  let hive: Hive
  let folder: string
  let env: Record<string, string>
  let key: string
  let checkpoint: string
  before(async () => {
    hive = await open()
    folder = await mkdtemp(join(tmpdir(), 'hivesync-audit-'))
    env = { HIVESYNC_DATABASE_URL: hive.ctx.config.databaseUrl, HIVESYNC_DATA: folder }
    await record(hive, 300)
    key = (await listVerifiers(hive.ctx.db.kysely)).map(writeVerifierKey).join('\n')
    checkpoint = join(folder, 'checkpoint')
    await writeFile(checkpoint, (await findLastCheckpoint(hive.ctx.db.kysely))?.note ?? '')
  })
  after(async () => {
    await hive[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  test('end with 0 for a log that is whole, while the server has it open', async () => {
    const { code, json } = await hivesync(env, 'audit', 'verify', '--checkpoint', checkpoint, '--key', key)
    assert.deepEqual([code, json.outcome, json.size, json.findings], [0, 'ok', 300, []])
  })

  test('an export is a new file that nobody else reads, and verifies with nothing but the key', async () => {
    const path = join(folder, 'log.jsonl')
    assert.equal((await hivesync(env, 'audit', 'export', path)).code, 0)
    assert.equal((await hivesync(env, 'audit', 'export', path)).code, 1, 'never over what is there')
    const keys = join(folder, 'keys')
    await writeFile(keys, `${key}\n`)
    const nothing = { HIVESYNC_DATA: join(folder, 'none') }
    const found = await hivesync(
      nothing,
      'audit',
      'verify',
      '--export',
      path,
      '--key',
      keys,
      '--checkpoint',
      checkpoint,
    )
    assert.deepEqual([found.code, found.json.outcome], [0, 'ok'], found.errors)
    assert.equal((await hivesync(nothing, 'audit', 'verify', '--export', path)).code, 2, 'no key, no verdict')
    assert.equal((await hivesync(nothing, 'audit', 'verify', '--export', path, '--key', 'a+b')).code, 2)
    assert.equal((await hivesync(nothing, 'audit', 'verify', '--export', checkpoint, '--key', keys)).code, 2)
  })

  test('end with 2 where there is nothing to judge', async () => {
    const missing = { HIVESYNC_DATABASE_URL: `sqlite:${join(folder, 'missing.db')}`, HIVESYNC_DATA: folder }
    assert.equal((await hivesync(missing, 'audit', 'verify')).code, 2)
    assert.equal((await hivesync(env, 'audit', 'verify', '--checkpoint', join(folder, 'missing'))).code, 2)
  })

  test('end with 1 for a log that was tampered with, and name the leaf', async () => {
    await tamper(
      hive,
      `update audit_events set action = 'x' where id = (select event_id from audit_leaves where seq = 42)`,
    )
    const { code, json } = await hivesync(env, 'audit', 'verify')
    assert.deepEqual([code, json.outcome, json.findings[0].seq], [1, 'tampered', 42])
  })
})
