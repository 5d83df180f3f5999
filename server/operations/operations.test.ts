import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { operations } from '@hivesync/contracts/operations.ts'
import * as service from '@hivesync/contracts/service.ts'
import { sql } from 'kysely'
import { describeHive, type Hive } from '../../test/harness/hive.ts'

async function breakStore({ ctx }: Hive): Promise<void> {
  await rm(ctx.config.store.folder, { recursive: true, force: true })
  await writeFile(ctx.config.store.folder, 'in the way')
}

describeHive('the service', (open) => {
  test('is alive and ready, and says no more about itself than it must', async () => {
    // The machine's own clock, which is the database's too.
    await using hive = await open({ clock: { now: Date.now } })
    assert.deepEqual((await hive.call(service.getHealth)).body, { status: 'ok' })
    assert.deepEqual((await hive.call(service.getReadiness)).body, { status: 'ready' })
    const landing = await hive.call(service.getLanding)
    assert.deepEqual(Object.keys(landing.body).sort(), ['auth', 'description', 'docs', 'name'])
    assert.doesNotMatch(JSON.stringify([landing.body, landing.headers]), /\d+\.\d+\.\d+|fastify|node/i)
  })

  test('without its database is alive, not ready, and names what fails without its reason', async () => {
    await using hive = await open()
    await hive.ctx.db.close()
    assert.equal((await hive.call(service.getHealth)).status, 200)
    const ready = await hive.call(service.getReadiness)
    assert.equal(ready.status, 503)
    assert.equal(ready.problem.code, 'not_ready')
    assert.equal(ready.problem.detail, 'The database does not answer')
    assert.equal(ready.headers['retry-after'], '5')
    assert.ok(hive.logged.some((line) => line.includes('"dependency_failed"') && line.includes('"reason":')))
  })

  test('that cannot write its store is ready, and names it without the reason', async () => {
    await using hive = await open({ clock: { now: Date.now } })
    await breakStore(hive)
    const reply = await hive.call(service.getReadiness)
    assert.deepEqual(reply.body, { status: 'ready', degraded: ['store'] })
    const line = hive.logged.find((each) => each.includes('"dependency_failed"'))
    assert.match(line ?? '', /"name":"store"/)
    assert.match(line ?? '', /"reason":"/)
  })

  test('whose database is of a newer version works on, and says so; its log says which', async () => {
    await using hive = await open({ clock: { now: Date.now } })
    const row = sql`insert into migrations (version, name, checksum, applied_at)
      select max(version) + 1, '9999_later', 'sum', 0 from migrations`
    await row.execute(hive.ctx.db.kysely)
    assert.deepEqual((await hive.call(service.getReadiness)).body, { status: 'ready', degraded: ['schema'] })
    assert.ok(
      hive.logged.some((line) => line.includes('9999_later is newer') || line.includes('9999_later: it is newer')),
    )
  })

  test('asks what is slow to answer once in ten seconds, however often strangers ask', async () => {
    const clock = { at: Date.now(), now: () => clock.at }
    await using hive = await open({ clock })
    await hive.call(service.getReadiness)
    const left = []
    for await (const { key } of hive.ctx.store.list()) left.push(key)
    assert.deepEqual(left, [], 'what is written to try it out is removed')
    // Broken now: who asks again within ten seconds hears what was found then.
    await breakStore(hive)
    for (let i = 0; i < 20; i++) assert.deepEqual((await hive.call(service.getReadiness)).body, { status: 'ready' })
    clock.at += 10_000
    assert.deepEqual((await hive.call(service.getReadiness)).body, { status: 'ready', degraded: ['store'] })
  })

  test('whose clock is half a minute off the database says so', async () => {
    await using hive = await open({ clock: { now: () => Date.now() + 40_000 } })
    const degraded = hive.ctx.db.dialect === 'postgres' ? { degraded: ['clock'] } : {}
    assert.deepEqual((await hive.call(service.getReadiness)).body, { status: 'ready', ...degraded })
  })

  test('without its database lets nobody in', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    hive.ctx.bus.publish('identity')
    await hive.ctx.db.close()
    for (const { name, method, path, access } of operations.values()) {
      if (access === 'public' || access === 'worker') continue
      const url = path.replace(/:\w+/g, '01890000-0000-7000-8000-000000000000')
      const reply = await hive.inject({ method, url, headers: { authorization: `Bearer ${ada.token}` } })
      assert.ok(reply.statusCode >= 400 && reply.statusCode !== 500, `${name} answered ${reply.statusCode}`)
      assert.doesNotMatch(reply.body, /database|sqlite|postgres|closed/i, name)
    }
  })

  test('publishes the description of every operation', async () => {
    await using hive = await open()
    const reply = await hive.inject({ method: 'GET', url: '/openapi.json' })
    assert.equal(reply.statusCode, 200)
    assert.match(String(reply.headers['content-type']), /^application\/json/)
    const listed = Object.values<Record<string, { operationId: string }>>(reply.json().paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    )
    assert.deepEqual(listed.sort(), [...operations.keys()].sort())
  })

  test('serves every operation of the contracts and nothing else', async () => {
    await using hive = await open()
    for (const { name, method, path } of operations.values())
      assert.ok(hive.app.hasRoute({ method, url: path }), `${name} is not served`)
    const served = hive.app.printRoutes({ commonPrefix: false, includeHooks: false }).match(/\(([A-Z, ]+)\)/g) ?? []
    const methods = served.flatMap((each) => each.slice(1, -1).split(', '))
    assert.equal(methods.length, operations.size)
  })
})
