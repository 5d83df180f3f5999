import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type Identities, identitiesOn, type Person } from '../../test/harness/identities.ts'
import { type Actor, nobody, system } from '../platform/actor.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { hearIdentityNews } from '../platform/identity-news.ts'
import { listSigningKeys, rotateSigningKeys } from './rotate-keys.ts'
import { rereadSigningKeys } from './signing-keys.ts'
import { tendSigningKeys } from './tend-keys.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  before(async () => {
    hive = await open()
    await hive.setUp()
  })
  const me = (token: string, server = hive) => server.call('GET', '/api/v1/auth/me', { token })
  const isAlive = async (token: string, server = hive) => (await me(token, server)).status === 200
  const rowsOf = (server: Identities) => server.ctx.db.kysely.selectFrom('signingKeys').selectAll().execute()
  const published = async (server: Identities) => {
    const reply = await server.call('GET', '/.well-known/jwks.json')
    return (reply.body.keys as { kid: string }[]).map((key) => key.kid)
  }
  const kidOf = (token: string): string =>
    JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid
  const refresh = (server: Identities, { refreshToken }: Person) =>
    server.call('POST', '/api/v1/auth/refresh', { body: { refreshToken } })
  const adminOf = (person: Person): Actor => ({ ...system, kind: 'user', id: person.userId, userId: person.userId })
  /** What the background task does at each minute of that time. */
  async function live(server: Identities, ms: number, stepMs = minuteMs): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      server.advance(stepMs)
      await tendSigningKeys(server.ctx)
    }
  }

  test('the next key is made with the first and published from then on, with leave to keep the key set for ten minutes', async () => {
    const { current, next, previous } = await listSigningKeys(hive.ctx)
    assert.deepEqual(previous, [])
    assert.deepEqual((await published(hive)).sort(), [current.id, next.id].sort())
    const reply = await hive.call('GET', '/.well-known/jwks.json')
    assert.equal(reply.headers['cache-control'], 'public, max-age=600')
    const refused = await hive.call('GET', '/.well-known/jwks.json?x=1')
    assert.deepEqual([refused.status, refused.headers['cache-control']], [400, 'no-store'])
    assert.equal((await hive.call('GET', '/api/v1/health')).headers['cache-control'], 'no-store')
  })

  test('after thirty days the next key signs, and tokens of the one before live on to their end', async () => {
    const server = await open()
    await server.setUp()
    const first = await listSigningKeys(server.ctx)
    await live(server, 29 * dayMs, dayMs)
    server.advance(dayMs - 1)
    await tendSigningKeys(server.ctx)
    const { accessToken: old } = await server.logIn('root')
    assert.equal(kidOf(old), first.current.id)
    await live(server, minuteMs)
    const second = await listSigningKeys(server.ctx)
    assert.deepEqual([second.current.id, second.previous[0]?.id], [first.next.id, first.current.id])
    assert.notEqual(second.next.id, first.next.id)
    assert.equal((await published(server)).length, 3)
    await rereadSigningKeys(server.ctx)
    assert.equal(kidOf((await server.logIn('root')).accessToken), second.current.id)
    await live(server, 13 * minuteMs)
    assert.ok(await isAlive(old, server))
    // The new one has its thirty days from when it began to sign, not from when it was made.
    await live(server, 29 * dayMs, dayMs)
    assert.equal((await listSigningKeys(server.ctx)).current.id, second.current.id)
  })

  test('a key that has signed keeps no private half, verifies for as long as its last token lives, and is then removed', async () => {
    const server = await open()
    const ada = await server.setUp()
    const { current } = await listSigningKeys(server.ctx)
    server.advance(hourMs)
    assert.equal((await rotateSigningKeys(server.ctx, adminOf(ada), {})).rotated, true)
    const row = (await rowsOf(server)).find(({ id }) => id === current.id)
    assert.deepEqual([row?.state, row?.sealedPrivateKey], ['previous', ''])
    assert.equal(Number(row?.retiresAt) - server.ctx.clock.now(), hourMs + 90_000)
    await live(server, hourMs + minuteMs)
    assert.ok((await published(server)).includes(current.id))
    await live(server, minuteMs)
    assert.ok(!(await published(server)).includes(current.id))
    await live(server, dayMs, hourMs)
    assert.ok((await rowsOf(server)).every(({ id }) => id !== current.id))
  })

  test('a next key does not sign before it was published for an hour, on demand neither', async () => {
    const server = await open()
    const ada = await server.setUp()
    const first = await listSigningKeys(server.ctx)
    server.advance(hourMs - 1)
    const tooEarly = await rotateSigningKeys(server.ctx, adminOf(ada), {})
    assert.deepEqual([tooEarly.rotated, tooEarly.current.id], [false, first.current.id])
    assert.equal(Date.parse(tooEarly.next.signsFrom) - server.ctx.clock.now(), 1)
    server.advance(1)
    const { accessToken } = await server.logIn('root')
    const done = await rotateSigningKeys(server.ctx, adminOf(ada), {})
    assert.deepEqual([done.rotated, done.current.id], [true, first.next.id])
    assert.ok(await isAlive(accessToken, server))
    assert.equal((await rotateSigningKeys(server.ctx, adminOf(ada), {})).rotated, false)
  })

  test('an emergency ends every access token at its next request, and sessions go on', async () => {
    const server = await open()
    const ada = await server.setUp()
    server.advance(hourMs)
    await rotateSigningKeys(server.ctx, adminOf(ada), {})
    const person = await server.person('eve')
    assert.ok(await isAlive(person.token, server))
    const before = new Set((await rowsOf(server)).map(({ id }) => id))
    // As an open stream does it.
    const proved: Promise<boolean>[] = []
    server.ctx.bus.subscribe('identity', () => proved.push(isAlive(person.token, server)))
    const { rotated } = await rotateSigningKeys(server.ctx, adminOf(ada), { emergency: true })
    assert.equal(rotated, true)
    assert.equal(await proved.at(-1), false, 'whoever listens for news was not told')
    for (const token of [person.token, ada.token]) assert.equal((await me(token, server)).body.code, 'invalid_token')
    assert.ok((await rowsOf(server)).every(({ id }) => !before.has(id)))
    const reply = await refresh(server, person)
    assert.equal(reply.status, 200)
    assert.ok(await isAlive(String(reply.body.accessToken), server))
    // A key that is gone does not come back with the clock.
    server.advance(-2 * hourMs)
    assert.equal((await me(person.token, server)).status, 401)
    assert.equal((await server.audited('signing_key.revoked')).length, before.size)
    for (const event of await server.audited('signing_key.revoked')) assert.equal(event.actorId, ada.userId)
  })

  test('an emergency at one replica ends the tokens at the other with the next news, and new ones are good at once', {
    skip: dialect === 'sqlite',
  }, async () => {
    const one = await open()
    const ada = await one.setUp()
    const two = await again(one)
    await hearIdentityNews(two.ctx)
    assert.ok(await isAlive(ada.token, two))
    await rotateSigningKeys(one.ctx, adminOf(ada), { emergency: true })
    await hearIdentityNews(two.ctx)
    let reply = await me(ada.token, two)
    // The news are heard, the keys are being read.
    for (let tries = 0; reply.status === 200 && tries < 1000; tries++) reply = await me(ada.token, two)
    assert.equal(reply.body.code, 'invalid_token')
    reply = await refresh(two, ada)
    assert.ok(await isAlive(String(reply.body.accessToken), one))
    assert.ok(await isAlive(String(reply.body.accessToken), two))
  })

  test('replicas that start, tend and change over at once make no key twice', {
    skip: dialect === 'sqlite',
  }, async () => {
    const one = await open()
    const two = await again(one)
    const at = <T>(work: (ctx: Identities['ctx']) => Promise<T>) =>
      Promise.all(Array.from({ length: 20 }, (_, index) => work((index % 2 === 0 ? one : two).ctx)))
    const states = async () => (await rowsOf(one)).map(({ state }) => state).sort()
    await at(tendSigningKeys)
    assert.deepEqual(await states(), ['current', 'next'])
    for (const server of [one, two]) server.advance(30 * dayMs)
    await at(tendSigningKeys)
    assert.deepEqual(await states(), ['current', 'next', 'previous'])
    for (const server of [one, two]) server.advance(hourMs)
    const rotations = await at((ctx) => rotateSigningKeys(ctx, { ...nobody, requestId: null, ip: null }, {}))
    assert.equal(new Set(rotations.map(({ current }) => current.id)).size, 1)
    assert.deepEqual(await states(), ['current', 'next', 'previous', 'previous'])
    assert.equal((await one.audited('signing_key.promoted')).length, 2)
  })

  test('twenty first needs at once make one key that signs and one to come', async () => {
    const server = await open()
    await Promise.all(Array.from({ length: 20 }, () => tendSigningKeys(server.ctx)))
    assert.deepEqual((await rowsOf(server)).map(({ state }) => state).sort(), ['current', 'next'])
  })

  test('after a step back of the clock by years keys still rotate, and none verifies for years', async () => {
    const server = await open()
    const ada = await server.setUp()
    const years = 3 * 365 * dayMs
    server.advance(years)
    await tendSigningKeys(server.ctx)
    await rotateSigningKeys(server.ctx, adminOf(ada), {})
    const ahead = await listSigningKeys(server.ctx)
    server.advance(-years)
    await tendSigningKeys(server.ctx)
    assert.ok(await isAlive((await server.logIn('root')).accessToken, server))
    const now = await listSigningKeys(server.ctx)
    assert.notEqual(now.current.id, ahead.current.id)
    for (const { retiresAt } of now.previous)
      assert.ok(Date.parse(String(retiresAt)) <= server.ctx.clock.now() + hourMs + 90_000)
  })

  test('a key whose secret was taken away is withdrawn with its tokens and replaced, and sessions go on', async () => {
    const first = await open()
    const ada = await first.setUp()
    const old = (await rowsOf(first)).map(({ id }) => id)
    await first.close()
    const second = await again(first, { secrets: [generateSecret()] })
    const reply = await refresh(second, ada)
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    assert.ok(await isAlive(String(reply.body.accessToken), second))
    assert.equal((await me(ada.token, second)).body.code, 'invalid_token')
    assert.ok((await published(second)).every((id) => !old.includes(id)))
    assert.equal((await second.audited('signing_key.unreadable')).length, 2)
    assert.ok(second.logLines.some((line) => line.includes('signing_key_unreadable')))
  })

  test('a secret added in front leaves keys and tokens as they are', async () => {
    const first = await open()
    const ada = await first.setUp()
    await first.close()
    const second = await again(first, { secrets: [generateSecret(), ...first.ctx.config.secrets] })
    assert.ok(await isAlive(ada.token, second))
    assert.deepEqual(await second.audited('signing_key.unreadable'), [])
  })

  test('a stored key that was changed or put in the place of another signs nothing', async () => {
    const server = await open()
    await server.setUp()
    const [one, other] = await rowsOf(server)
    await server.ctx.db.kysely
      .updateTable('signingKeys')
      .set({ sealedPrivateKey: String(other?.sealedPrivateKey) })
      .where('id', '=', String(one?.id))
      .execute()
    await tendSigningKeys(server.ctx)
    assert.ok((await rowsOf(server)).every(({ id }) => id !== one?.id))
    await rereadSigningKeys(server.ctx)
    assert.ok(await isAlive((await server.logIn('root')).accessToken, server))
  })

  test('keys that cannot be read let no token in', async () => {
    const server = await open()
    const ada = await server.setUp()
    assert.ok(await isAlive(ada.token, server))
    await server.ctx.db.kysely.schema.alterTable('signing_keys').renameTo('signing_keys_away').execute()
    await assert.rejects(rereadSigningKeys(server.ctx))
    assert.equal((await me(ada.token, server)).status, 500)
    await server.ctx.db.kysely.schema.alterTable('signing_keys_away').renameTo('signing_keys').execute()
    assert.ok(await isAlive(ada.token, server))
  })
})
