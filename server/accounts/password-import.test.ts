import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { hash as bcrypt } from '@node-rs/bcrypt'
import { type Identities, identitiesOn } from '../../test/harness/identities.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { createPasswordHasher } from '../platform/crypto/password.ts'
import { nameOfWork, type PasswordWork } from '../platform/crypto/password-cost.ts'
import { parseLegacyHash } from '../platform/crypto/password-legacy.ts'
import { type ImportedAccount, openImport } from './password-import.ts'
import { addPasswordWorks, findPasswordWorks } from './password-work.ts'
import { equalizePasswordWork, hasherOf, hashPassword, setPasswordHasher } from './passwords.ts'

const defaultWork = 'm=19456,t=2,p=1'

function imported(username: string, hash: string, more: Partial<ImportedAccount> = {}): ImportedAccount {
  const legacy = parseLegacyHash(hash)
  assert.ok(legacy)
  return { email: `${username}@old.test`, username, legacy, isAdmin: false, createdAt: undefined, ...more }
}
const logIn = (hive: Identities, login: string, password: string) =>
  hive.call('POST', '/api/v1/auth/login', { body: { login, password } })
const storedOf = async (hive: Identities, username: string) =>
  (
    await hive.ctx.db.kysely
      .selectFrom('users')
      .selectAll()
      .where('usernameKey', '=', username)
      .executeTakeFirstOrThrow()
  ).passwordHash ?? ''
const worksIn = async (hive: Identities) => (await findPasswordWorks(hive.ctx)).map(nameOfWork)

identitiesOn((open) => {
  describe('a password from another system', () => {
    let hive: Identities
    before(async () => {
      hive = await open()
    })

    test('lets its owner in, and is Argon2id of today’s cost after that', async () => {
      const importBatch = openImport(hive.ctx)
      const createdAt = Date.UTC(2019, 1, 2)
      assert.deepEqual(
        await importBatch([
          imported('olga', sha256Hex('sesame'), { createdAt }),
          imported('boris', await bcrypt('sesame', 4), { isAdmin: true }),
        ]),
        [],
      )
      assert.match(await storedOf(hive, 'olga'), /^\$hs-sha256\$argon2id/)
      assert.match(await storedOf(hive, 'boris'), /^\$hs-bcrypt\$2b\$04/)
      for (const name of ['olga', 'boris']) {
        assert.equal((await logIn(hive, name, 'Sesame')).status, 401)
        assert.match(await storedOf(hive, name), /^\$hs-/, 'a wrong password upgrades nothing')
        assert.equal((await logIn(hive, name, 'sesame')).status, 200)
        assert.match(await storedOf(hive, name), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
        assert.equal((await logIn(hive, name, 'sesame')).status, 200)
        assert.equal((await logIn(hive, name, 'Sesame')).status, 401)
      }
      const users = await hive.ctx.db.kysely.selectFrom('users').selectAll().orderBy('id').execute()
      assert.deepEqual(
        users.map((user) => [user.username, user.createdAt === createdAt, user.adminSince !== null]),
        [
          ['olga', true, false],
          ['boris', false, true],
        ],
      )
      // Too short to stand alone, which could not be known before: no second factor that it will lean on can be taken away.
      assert.deepEqual(
        users.map((user) => user.passwordShortAt !== null),
        [true, true],
      )
      const events = await hive.audited('account.imported')
      assert.deepEqual(
        events.map(({ actorKind, details }) => [actorKind, details]),
        [
          ['system', '{"hash":"sha256","isAdmin":false}'],
          ['system', '{"hash":"bcrypt","isAdmin":true}'],
        ],
      )
    })

    test('changed while it logs in stays changed: of forty at once no upgrade overwrites the new one', async () => {
      const hive = await open()
      // Patient, because forty wait for two on a machine that may be busy, and cheap.
      const cost = { memoryCost: 8, timeCost: 1, parallelism: 1 }
      const patient = createPasswordHasher({ permits: 2, maxQueued: 100, deadlineMs: 120_000, cost })
      setPasswordHasher(hive.ctx, patient)
      const names = Array.from({ length: 40 }, (_, index) => `person${index}`)
      await openImport(hive.ctx)(names.map((name) => imported(name, sha256Hex('sesame'))))
      const changed = await hashPassword(hive.ctx, 'a new and much longer password')
      const logins = names.map((name) => logIn(hive, name, 'sesame'))
      // Most while the login of their person is being verified or upgraded: that of somebody a little earlier has just ended. Some while it waits.
      const changes = names.map(async (name, index) => {
        if (index < 30) await logins[Math.max(0, index - 2)]
        await hive.ctx.db.kysely
          .updateTable('users')
          .set({ passwordHash: changed })
          .where('username', '=', name)
          .execute()
      })
      await Promise.all(changes)
      const statuses = (await Promise.all(logins)).map(({ status }) => status)
      assert.ok(statuses.every((status) => status === 200 || status === 401))
      assert.ok(statuses.includes(401), 'some were overtaken')
      for (const name of names) assert.equal(await storedOf(hive, name), changed)
    })

    test('is taken once: who is there already, by email address or username in whatever case, is left out', async () => {
      const importBatch = openImport(hive.ctx)
      await importBatch([imported('wanda', sha256Hex('sesame'))])
      const again = imported('WANDA', sha256Hex('other'), { email: 'new@old.test' })
      const renamed = imported('wanda2', sha256Hex('other'), { email: 'Wanda@OLD.test' })
      const fresh = imported('xenia', sha256Hex('other'))
      assert.deepEqual(await importBatch([again, renamed, fresh]), [again, renamed])
      assert.equal((await logIn(hive, 'wanda', 'sesame')).status, 200)
      assert.equal((await logIn(hive, 'xenia', 'other')).status, 200)
    })

    test('imported by several at once is imported once', async () => {
      const before = (await hive.audited('account.imported')).length
      const people = ['rosa', 'sam', 'tilda'].map((name) => imported(name, sha256Hex('sesame')))
      const left = await Promise.all(Array.from({ length: 4 }, () => openImport(hive.ctx)(people)))
      assert.equal(left.flat().length, 3 * people.length)
      assert.equal((await hive.audited('account.imported')).length, before + people.length)
    })
  })

  describe('the works that every login does', () => {
    test('are those of all stored hashes: an import adds its own, and a start drops what no hash needs', async () => {
      const hive = await open()
      await equalizePasswordWork(hive.ctx)
      assert.deepEqual(await worksIn(hive), [defaultWork])
      await openImport(hive.ctx)([imported('boris', await bcrypt('sesame', 4))])
      await equalizePasswordWork(hive.ctx)
      assert.deepEqual(await worksIn(hive), ['2b$04', defaultWork])
      assert.equal((await logIn(hive, 'boris', 'sesame')).status, 200)
      await equalizePasswordWork(hive.ctx)
      assert.deepEqual(await worksIn(hive), [defaultWork])
    })

    test('follow the configured cost, and keep the former one while a password of it is left', async () => {
      const hive = await open({ config: { passwordCost: { memoryKib: 12_288, passes: 3 } } })
      await hive.setUp()
      await equalizePasswordWork(hive.ctx)
      assert.match(await storedOf(hive, 'root'), /m=12288,t=3,p=1/)
      assert.deepEqual(await worksIn(hive), ['m=12288,t=3,p=1'])
      const former = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMg$aGFzaGhhc2hoYXNoaGFzaGhhc2g'
      await hive.ctx.db.kysely.updateTable('users').set({ passwordHash: former }).execute()
      await equalizePasswordWork(hive.ctx)
      assert.deepEqual(await worksIn(hive), ['m=12288,t=3,p=1', defaultWork])
    })

    test('are the same for an unknown account and for every kind there is', async () => {
      const hive = await open()
      await hive.setUp()
      await openImport(hive.ctx)([imported('boris', await bcrypt('sesame', 4)), imported('olga', sha256Hex('sesame'))])
      const inUse = await findPasswordWorks(hive.ctx)
      const hasher = hasherOf(hive.ctx)
      const plans = [null, ...(await Promise.all(['root', 'boris', 'olga'].map((name) => storedOf(hive, name))))].map(
        (stored) => hasher.worksFor(stored, inUse).map(nameOfWork),
      )
      for (const plan of plans) assert.deepEqual(plan, ['2b$04', defaultWork])
    })

    test('that are added while a start drops the unused ones are not lost', async () => {
      const hive = await open()
      for (let round = 0; round < 10; round++) {
        const cost = 4 + (round % 3)
        const work: PasswordWork = { kind: 'bcrypt', cost }
        const passwordHash = `$hs-bcrypt$2b$0${cost}$CCCCCCCCCCCCCCCCCCCCC.$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g`
        const account = imported(`person${round}`, sha256Hex('sesame'))
        await openImport(hive.ctx)([account])
        // There already, and of no use yet: what a start that does not wait for the import would drop.
        await hive.ctx.db.transaction((tx) => addPasswordWorks(tx, [work]))
        const store = hive.ctx.db.transaction(async (tx) => {
          await addPasswordWorks(tx, [work])
          // Long enough for the starts to look around meanwhile.
          for (let statement = 0; statement < 20; statement++) await tx.selectFrom('users').select('id').execute()
          await tx.updateTable('users').set({ passwordHash }).where('username', '=', account.username).execute()
        })
        await Promise.all([equalizePasswordWork(hive.ctx), store, equalizePasswordWork(hive.ctx)])
        assert.ok((await worksIn(hive)).includes(nameOfWork(work)))
        await hive.ctx.db.kysely.updateTable('users').set({ passwordHash: null }).execute()
        await equalizePasswordWork(hive.ctx)
        assert.deepEqual(await worksIn(hive), [defaultWork])
      }
    })

    test('that nobody could have asked for are not done for anybody', async () => {
      const hive = await open()
      await hive.setUp()
      const planted = ['2b$31', 'm=2097152,t=2,p=1', 'm=19456,t=1000000000,p=1', 'nonsense'].map((name) => ({ name }))
      await hive.ctx.db.kysely.insertInto('passwordWorks').values(planted).execute()
      assert.deepEqual(await worksIn(hive), [])
      assert.ok(hive.logLines.some((line) => line.includes('password_work_refused')))
    })
  })
})
