import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { verifyPassword } from '../accounts/accounts.ts'
import { parseConfig } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { onEachDatabase } from '../platform/db/test-databases.ts'
import { findProblems, importAll } from './import-users.ts'
import { CommandRefused, runOperatorCommand, withContext } from './operator-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-import-'))
after(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'users.jsonl')
const bcryptHash = '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' // of U*U

const line = (username: string, more: object = {}) =>
  JSON.stringify({ email: `${username}@old.test`, username, passwordHash: sha256Hex('sesame'), ...more })
const file = (...lines: (string | Buffer)[]) =>
  writeFileSync(path, Buffer.concat(lines.flatMap((each) => [Buffer.from(each), Buffer.from('\n')])))
const usersOf = (ctx: Context) => ctx.db.kysely.selectFrom('users').selectAll().orderBy('username').execute()

onEachDatabase((_open, { createUrl }) => {
  const on = async <T>(work: (ctx: Context) => Promise<T>) =>
    withContext(work, { ...parseConfig({ HIVESYNC_DATA: join(folder, 'data') }), databaseUrl: await createUrl() })

  describe('an import of people', () => {
    test('takes everybody, and nobody a second time', () =>
      on(async (ctx) => {
        const many = Array.from({ length: 60 }, (_, index) => line(`person${String(index).padStart(2, '0')}`))
        file(
          ...many,
          line('fog', { passwordHash: bcryptHash, isAdmin: true, createdAt: '2019-02-03T04:05:06.000Z' }),
          '',
        )
        assert.deepEqual(await findProblems(ctx, path), [])
        assert.deepEqual(await importAll(ctx, path), { imported: 61, skipped: [] })
        const [fog] = await usersOf(ctx)
        assert.deepEqual([fog?.username, fog?.createdAt], ['fog', Date.UTC(2019, 1, 3, 4, 5, 6)])
        assert.equal(typeof fog?.adminSince, 'number')
        assert.equal(await verifyPassword(ctx, fog?.passwordHash ?? null, 'U*U'), true)

        file(line('newcomer'), ...many)
        const again = await importAll(ctx, path)
        assert.equal(again.imported, 1)
        assert.deepEqual(
          again.skipped.map((finding) => finding.line),
          many.map((_, index) => index + 2),
        )
        assert.equal((await usersOf(ctx)).length, 62)
      }))

    test('names every bad line by its number and repeats nothing of it', () =>
      on(async (ctx) => {
        file(
          line('good'),
          'nonsense',
          Buffer.from([0x7b, 0xff, 0x7d]),
          '[]',
          line('ab'),
          line('mail', { email: 'nobody' }),
          line('surrogate').replace('surrogate@', '\\ud800@'),
          line('hash', { passwordHash: 'hunter2' }),
          line('dear', { passwordHash: bcryptHash.replace('$05$', '$31$') }),
          line('extra', { role: 'owner' }),
          line('twice').replace('{', '{"isAdmin":true,'.repeat(2)),
          line('admin', { isAdmin: 'yes' }),
          line('future', { createdAt: '2999-01-01T00:00:00.000Z' }),
          line('long', { passwordHash: 'a'.repeat(5000) }),
          line('GOOD', { email: 'other@old.test' }),
          line('other', { email: 'GOOD@old.test' }),
          line('missing', { email: undefined }),
        )
        const problems = await findProblems(ctx, path)
        assert.deepEqual(
          problems.map((problem) => problem.line),
          [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
        )
        assert.doesNotMatch(JSON.stringify(problems), /hunter2|CCCCC|@old|aaaa/)
        assert.deepEqual(await usersOf(ctx), [])
      }))

    test('that was changed between reading and importing stops, and keeps what was committed', () =>
      on(async (ctx) => {
        file(...Array.from({ length: 51 }, (_, index) => line(`person${index}`)), 'nonsense')
        await assert.rejects(importAll(ctx, path), CommandRefused)
        assert.equal((await usersOf(ctx)).length, 50)
      }))
  })
})

describe('an operator’s command', () => {
  const config = parseConfig({ HIVESYNC_DATA: join(folder, 'busy') })

  test('says that the server must be stopped while it has the SQLite database', () =>
    withContext(
      () =>
        assert.rejects(
          withContext(async () => {}, config),
          /stop it first/,
        ),
      config,
    ))

  test('ends with 78 for a refused configuration and 1 for a file it cannot read, without a stack', async () => {
    const misconfigured = () => withContext(async () => ({ exitCode: 0 }), parseConfig({ HIVESYNC_PORT: 'x' }))
    assert.deepEqual(await runOperatorCommand(async () => misconfigured()), { exitCode: 78 })
    const missing = () => withContext((ctx) => findProblems(ctx, join(folder, 'nowhere')), config)
    assert.deepEqual(await runOperatorCommand(async () => ({ exitCode: (await missing()).length })), { exitCode: 1 })
    await assert.rejects(
      runOperatorCommand(async () => {
        throw new TypeError('a fault of ours')
      }),
      TypeError,
    )
  })
})
