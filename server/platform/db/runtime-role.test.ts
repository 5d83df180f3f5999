// A real server that runs as the role, against a real PostgreSQL: work goes on, and the audit log is out of its reach.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { startServer } from '../../main.ts'
import { parseConfig } from '../config.ts'
import { createLogger } from '../logger.ts'
import { bringUpToDate } from '../migrate-database.ts'
import { openDatabase } from './db.ts'
import { ensureRuntimeRole, grantRuntimeRights, mayChangeAuditTables } from './runtime-role.ts'
import { run, statement, text } from './statement.ts'
import { onEachDatabase } from './test-databases.ts'

const password = 'nine amber drones hum at noon'
const denied = { code: '42501' }

onEachDatabase((open, { dialect, createUrl }) => {
  if (dialect === 'sqlite') {
    test('SQLite has no roles, and does not pretend to', async () => {
      assert.equal(await mayChangeAuditTables(await open()), true)
    })
    return
  }
  const made: { url: string; name: string }[] = []
  // By now their databases are gone, and with them every right that a role had.
  after(async () => {
    for (const { url, name } of made) {
      const server = new URL(url)
      server.pathname = '/postgres'
      const admin = await openDatabase(server.href)
      await run(admin.kysely, statement`${text(`drop role ${name}`)}`)
      await admin.close()
    }
  })
  async function makeRole(t: TestContext) {
    const ownerUrl = await createUrl()
    const owner = await openDatabase(ownerUrl)
    t.after(() => owner.close())
    const name = `hivesync_test_${randomBytes(6).toString('hex')}`
    const role = await ensureRuntimeRole(owner, name)
    made.push({ url: ownerUrl, name })
    const url = new URL(ownerUrl)
    url.username = name
    url.password = role.password ?? ''
    return { owner, ownerUrl, name, url: url.href }
  }

  test('the server works as the role, and the database keeps it from changing what it recorded', async (t) => {
    const { ownerUrl, url } = await makeRole(t)
    const folder = await mkdtemp(join(tmpdir(), 'hivesync-role-'))
    const setupToken = randomBytes(32).toString('base64url')
    const config = parseConfig({
      HIVESYNC_DATABASE_URL: url,
      HIVESYNC_DATABASE_MIGRATION_URL: ownerUrl,
      HIVESYNC_DATA: folder,
      HIVESYNC_PORT: '0',
      HIVESYNC_SETUP_TOKEN: setupToken,
    })
    const logged: string[] = []
    const server = await startServer(config, createLogger({ write: (line) => void logged.push(line) }))
    try {
      const post = async (path: string, body: unknown, token?: string) => {
        const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
        const headers = { 'content-type': 'application/json', ...authorization }
        const reply = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
        assert.ok(reply.ok, `${path}: ${reply.status} ${await reply.clone().text()}`)
        return reply.json() as Promise<Record<string, string>>
      }
      await post('/api/v1/setup', { setupToken, username: 'queen', email: 'queen@example.net', password })
      const { accessToken = '' } = await post('/api/v1/auth/login', { login: 'queen', password })
      const { id } = await post('/api/v1/projects', { name: 'honeycomb' }, accessToken)
      await post(`/api/v1/projects/${id}/jobs`, { kind: 'compute', input: { command: ['true'] } }, accessToken)
      const { sealAudit } = await import('../../audit/sequence.ts')
      const { verifyDatabase } = await import('../../audit/verify-database.ts')
      await sealAudit(server.ctx)
      assert.equal((await verifyDatabase(server.ctx.db.kysely)).outcome, 'ok')
      assert.equal(await mayChangeAuditTables(server.ctx.db), false)
      for (const table of ['audit_events', 'audit_leaves', 'audit_nodes', 'audit_checkpoints', 'audit_keys']) {
        for (const sql of [
          `delete from ${table}`,
          `truncate ${table}`,
          `alter table ${table} disable trigger all`,
          `drop table ${table}`,
        ])
          await assert.rejects(run(server.ctx.db.kysely, statement`${text(sql)}`), denied, sql)
      }
      const changes = [
        `update audit_events set action = 'x'`,
        `update audit_leaves set hash = 'x'`,
        `update audit_entries set action = 'x'`,
        'delete from audit_entries',
        `update migrations set name = 'x'`,
        'drop trigger audit_events_unchanged on audit_events',
        'create table stolen (id bigint)',
      ]
      for (const sql of changes)
        await assert.rejects(run(server.ctx.db.kysely, statement`${text(sql)}`), /permission denied|must be owner/, sql)
      assert.ok(
        logged.every((line) => !line.includes('audit_not_protected') && !line.includes('task_failed')),
        logged.join(''),
      )
    } finally {
      await server.stop()
      await rm(folder, { recursive: true })
    }
  })

  test('a server that may change the audit log says so when it starts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hivesync-role-'))
    const config = parseConfig({ HIVESYNC_DATABASE_URL: await createUrl(), HIVESYNC_DATA: folder, HIVESYNC_PORT: '0' })
    const logged: string[] = []
    const server = await startServer(config, createLogger({ write: (line) => void logged.push(line) }))
    await server.stop()
    await rm(folder, { recursive: true })
    assert.ok(logged.some((line) => line.includes('audit_not_protected')))
  })

  test('what an update adds the role may use, and nobody updates with the role alone', async (t) => {
    const { owner, ownerUrl, name, url } = await makeRole(t)
    const admin = (sql: string) => owner.runScript(sql)
    const before = parseConfig({ HIVESYNC_DATABASE_URL: url })
    await admin(`drop schema public cascade; create schema public; grant usage on schema public to ${name}`)
    const runtime = await openDatabase(url)
    t.after(() => runtime.close())
    await assert.rejects(bringUpToDate(before, runtime, Date.now), { name: 'ConfigError' })
    const config = parseConfig({ HIVESYNC_DATABASE_URL: url, HIVESYNC_DATABASE_MIGRATION_URL: ownerUrl })
    await bringUpToDate(config, runtime, Date.now)
    const may = statement`select has_table_privilege(${name}, 'jobs', 'insert') as may`
    assert.deepEqual(await run(owner.kysely, may), [{ may: 1 }])
    assert.equal(await mayChangeAuditTables(runtime), false)
  })

  test('rights that were added by hand are taken back, and a role that stands above rights is refused', async (t) => {
    const { owner, name } = await makeRole(t)
    const admin = (sql: string) => run(owner.kysely, statement`${text(sql)}`)
    await admin(`grant all on all tables in schema public to ${name}`)
    assert.deepEqual(await ensureRuntimeRole(owner, name), { name, password: null })
    const { rows } = {
      rows: await run<{ may: number }>(
        owner.kysely,
        statement`select has_table_privilege(${name}, 'audit_events', 'update, delete, truncate') as may`,
      ),
    }
    assert.equal(rows[0]?.may, 0)
    await admin(`alter role ${name} createrole`)
    await assert.rejects(
      owner.transaction((tx) => grantRuntimeRights(tx, name)),
      { code: 'role_refused' },
    )
    await admin(`alter role ${name} nocreaterole`)
    for (const odd of ['', 'Upper', 'a b', 'a"b', "a'b", '1a', 'x'.repeat(64)])
      await assert.rejects(ensureRuntimeRole(owner, odd), { code: 'role_refused' }, odd)
  })
})
