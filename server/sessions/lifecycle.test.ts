// A small model of sessions, driven at random and partly at once: what the endpoints answer must be what the model allows.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Tokens } from '@hivesync/contracts/sessions.ts'
import fc from 'fast-check'
import { type Identities, identitiesOn, type Person, type Reply } from '../../test/harness/identities.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'

const dayMs = 24 * 60 * 60 * 1000
const windowMs = 10_000
const sessionCount = 2

type Which = 'current' | 'previous' | 'older' | 'foreign'
type Command =
  | { do: 'refresh'; session: number; which: Which }
  | { do: 'revoke'; session: number; target: number }
  | { do: 'revokeOthers'; session: number }
  | { do: 'logOut'; session: number }
  | { do: 'use'; session: number }
  | { do: 'deactivate' }
  | { do: 'role'; isAdmin: boolean }
type Step = { advanceMs: number } | { atOnce: Command[] }

const session = fc.nat(sessionCount - 1)
const which = fc.constantFrom<Which>('current', 'current', 'current', 'previous', 'previous', 'older', 'foreign')
const refreshing = fc.record({ do: fc.constant('refresh' as const), session, which })
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 12, arbitrary: refreshing },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('use' as const), session }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke' as const), session, target: session }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('revokeOthers' as const, 'logOut' as const), session }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('deactivate' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('role' as const), isAdmin: fc.boolean() }) },
)
const advance = fc.constantFrom(1, 4000, 9999, 10_001, 60_000, 16 * 60_000, 3 * dayMs, 8 * dayMs)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ atOnce: fc.array(command, { minLength: 1, maxLength: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ advanceMs: advance }) },
)

interface Held {
  id: string
  /** Every refresh token so far; the last is the one that counts. */
  chain: string[]
  rotatedAt: number
  endsAt: number
  isEnded: boolean
  access: { token: string; endsAt: number }[]
}

interface Model {
  person: Person
  foreign: Person
  sessions: Held[]
  isDeactivated: boolean
  isAdmin: boolean
}

identitiesOn((open, { dialect, again }) => {
  let servers: Identities[]
  let count = 0
  before(async () => {
    const first = await open()
    await first.setUp()
    // Requests go to two replicas by turns where there can be two.
    servers = dialect === 'postgres' ? [first, await again(first)] : [first]
  })
  after(() => Promise.all(servers.map((server) => server.settled())))
  const any = (): Identities => servers[count++ % servers.length] as Identities
  const now = () => any().ctx.clock.now()
  const me = (token: string) => any().call('GET', '/api/v1/auth/me', { token })
  const isLive = (model: Model, held: Held) => !held.isEnded && !model.isDeactivated && held.endsAt > now()

  function hold(reply: Tokens): Held {
    const held: Held = { id: reply.session.id, chain: [], rotatedAt: now(), endsAt: 0, isEnded: false, access: [] }
    take(held, reply)
    return held
  }

  /** What a client keeps of a login or refresh. */
  function take(held: Held, { accessToken, refreshToken, expiresIn, session }: Tokens): void {
    held.access.push({ token: accessToken, endsAt: Math.floor(now() / 1000) * 1000 + expiresIn * 1000 })
    if (held.chain.includes(refreshToken)) return
    held.chain.push(refreshToken)
    held.rotatedAt = now()
    held.endsAt = Math.min(now() + 7 * dayMs, Date.parse(session.createdAt) + 30 * dayMs)
  }

  function presented(model: Model, held: Held, which: Which): { token: string; at: number } {
    const last = held.chain.length - 1
    const at = { current: last, previous: last - 1, older: last - 2, foreign: -1 }[which]
    const foreign = model.foreign.refreshToken.replace(model.foreign.sessionId, held.id)
    return { token: held.chain[at] ?? foreign, at }
  }

  async function run(model: Model, command: Command): Promise<Reply | undefined> {
    const { db } = any().ctx
    const change = async (row: { deactivatedAt?: number; adminSince?: number | null }) => {
      await db.kysely.updateTable('users').set(row).where('id', '=', model.person.userId).execute()
      for (const server of servers) server.ctx.bus.publish('identity')
      return undefined
    }
    if (command.do === 'deactivate') return change({ deactivatedAt: now() })
    if (command.do === 'role') return change({ adminSince: command.isAdmin ? now() : null })
    const held = model.sessions[command.session] as Held
    const token = String(held.access.at(-1)?.token)
    if (command.do === 'use') return me(token)
    if (command.do === 'logOut') return any().call('POST', '/api/v1/auth/logout', { token })
    if (command.do === 'revokeOthers') return any().call('DELETE', '/api/v1/auth/sessions', { token })
    if (command.do === 'refresh') {
      const refreshToken = presented(model, held, command.which).token
      return any().call('POST', '/api/v1/auth/refresh', { body: { refreshToken } })
    }
    const target = model.sessions[command.target] as Held
    return any().call('DELETE', `/api/v1/auth/sessions/${target.id}`, { token })
  }

  /** Whether the command, by its answer, has ended the session; `maybe` where that depends on what came first. */
  function ends(
    model: Model,
    held: Held,
    command: Command,
    reply: Reply | undefined,
    rotates: boolean,
  ): boolean | 'maybe' {
    if (command.do === 'use' || command.do === 'role' || command.do === 'deactivate') return false
    const isOwn = model.sessions[command.session] === held
    const isDone = reply?.status === 204
    if (command.do === 'logOut') return isOwn && isDone
    if (command.do === 'revokeOthers') return !isOwn && isDone
    if (command.do === 'revoke') return model.sessions[command.target] === held && isDone
    const { at } = presented(model, held, command.which)
    if (!isOwn || at < 0 || at === held.chain.length - 1) return false
    if (at < held.chain.length - 2 || now() - held.rotatedAt > windowMs) return true
    return rotates ? 'maybe' : false
  }

  async function takeStep(model: Model, commands: Command[]): Promise<void> {
    const before = structuredClone(model.sessions)
    const wasDeactivated = model.isDeactivated
    const replies = await Promise.all(commands.map((command) => run(model, command)))
    if (commands.some((command) => command.do === 'deactivate')) model.isDeactivated = true
    const roles = commands.filter((command) => command.do === 'role')
    if (roles.length > 0) model.isAdmin = await isAdminNow(model)
    if (roles.length === 1) assert.equal(model.isAdmin, (roles[0] as { isAdmin: boolean }).isAdmin)

    const atStart: Model = { ...model, sessions: before, isDeactivated: wasDeactivated }
    for (const [index, held] of model.sessions.entries()) {
      const was = before[index] as Held
      const wasLive = isLive(atStart, was)
      const refreshes = commands.flatMap((command, at) =>
        command.do === 'refresh' && command.session === index
          ? [{ ...presented(atStart, was, command.which), reply: replies[at] as Reply }]
          : [],
      )
      const last = was.chain.length - 1
      const rotates = refreshes.some(({ at }) => at === last)
      const causes = commands.map((command, at) => ends(atStart, was, command, replies[at], rotates))
      const isEnded = await isEndedNow(held)
      // A deactivation leaves the row as it is and may come before what would have ended it.
      if (wasLive && causes.includes(true) && !model.isDeactivated) assert.ok(isEnded, 'ended by what was asked')
      if (wasLive && isEnded)
        assert.ok(
          causes.some((cause) => cause !== false),
          'ended by nothing',
        )
      held.isEnded = isEnded

      for (const { at, reply } of refreshes) {
        if (reply.status !== 200) {
          assert.equal(reply.body.code, 'invalid_refresh_token')
          if (at === last && wasLive) assert.ok(isEnded || model.isDeactivated, 'the current token was refused')
          continue
        }
        assert.ok(wasLive, 'a session that had ended gave a token')
        assert.ok(at === last || at === last - 1, 'an older token gave a token')
        if (at === last - 1) assert.ok(now() - was.rotatedAt <= windowMs, 'the window stood open')
        const known = was.chain[at + 1]
        if (known !== undefined) assert.equal(reply.body.refreshToken, known, 'a repeated reply was not identical')
        take(held, reply.body as Tokens)
      }
      // All successes with the current token together gave one successor.
      assert.ok(held.chain.length <= was.chain.length + 1, 'two live chains')
    }
    await assertSteady(model)
  }

  const rowOf = (held: { id: string }) =>
    any().ctx.db.kysely.selectFrom('sessions').selectAll().where('id', '=', held.id).executeTakeFirstOrThrow()
  const isEndedNow = async (held: { id: string }) => (await rowOf(held)).revokedAt !== null
  async function isAdminNow(model: Model): Promise<boolean> {
    const users = any().ctx.db.kysely.selectFrom('users').select('adminSince').where('id', '=', model.person.userId)
    return (await users.executeTakeFirstOrThrow()).adminSince !== null
  }

  /** What holds after every step: dead sessions are dead with all their tokens, live ones have the newest, and rights are today's. */
  async function assertSteady(model: Model): Promise<void> {
    for (const held of model.sessions) {
      const live = isLive(model, held)
      if (live)
        assert.equal((await rowOf(held)).refreshHash, sha256Hex(String(held.chain.at(-1))), 'not the newest token')
      for (const { token, endsAt } of held.access.slice(-3)) {
        const reply = await me(token)
        assert.equal(
          reply.status,
          live && endsAt > now() ? 200 : 401,
          `an access token of a ${live ? 'live' : 'dead'} session`,
        )
        if (reply.status === 200) assert.equal(reply.body.isAdmin, model.isAdmin)
      }
      if (live) continue
      const { token } = presented(model, held, 'current')
      assert.equal((await any().call('POST', '/api/v1/auth/refresh', { body: { refreshToken: token } })).status, 401)
    }
    assert.equal(await isEndedNow({ id: model.foreign.sessionId }), false, 'a bystander was harmed')
  }

  test('whatever is done in whatever order, partly at once: what has ended stays ended, and no session has two live chains', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
        const name = `run-${count++}`
        const first = servers[0] as Identities
        const person = await first.person(name)
        const sessions = [await first.logIn(name), await first.logIn(name)].map(hold)
        const foreign = await first.person(`${name}-bystander`)
        const model: Model = { person, foreign, sessions, isDeactivated: false, isAdmin: false }
        for (const step of steps) {
          if ('advanceMs' in step) for (const server of servers) server.advance(step.advanceMs)
          else await takeStep(model, step.atOnce)
        }
      }),
      { numRuns: dialect === 'sqlite' ? 25 : 15 },
    )
  })
})
