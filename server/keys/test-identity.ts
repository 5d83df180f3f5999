// For tests of accounts, sessions and keys: their routes alone on a fresh database, driven over HTTP.

import { after } from 'node:test'
import type { Login } from '@hivesync/contracts/sessions.ts'
import type { FastifyInstance } from 'fastify'
import { ensureSetupToken } from '../accounts/accounts.ts'
import { accountRoutes } from '../accounts/routes.ts'
import { nobody } from '../platform/actor.ts'
import { createBus } from '../platform/bus.ts'
import { type Config, parseConfig } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { type Database, openDatabase } from '../platform/db/db.ts'
import { onEachDatabase } from '../platform/db/test-databases.ts'
import { createHttp } from '../platform/http/http.ts'
import { createLogger } from '../platform/logger.ts'
import { createRandom } from '../platform/random.ts'
import { projectRoutes } from '../projects/routes.ts'
import { sessionRoutes } from '../sessions/routes.ts'
import { createBearerAuthenticator } from './keys.ts'
import { keyRoutes } from './routes.ts'

export const password = 'correct horse battery staple'
const startMs = Date.UTC(2026, 0, 1)

export interface Reply {
  status: number
  body: Record<string, unknown>
  headers: Record<string, unknown>
}

export interface Identities {
  readonly url: string
  readonly ctx: Context
  readonly app: FastifyInstance
  readonly logLines: string[]
  advance(ms: number): void
  call(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    more?: { body?: unknown; token?: string; headers?: Record<string, string> },
  ): Promise<Reply>
  setUp(): Promise<Person>
  person(name: string): Promise<Person>
  logIn(login: string, device?: string): Promise<Login>
  audited(action: string): Promise<Record<string, unknown>[]>
  settled(): Promise<void>
  close(): Promise<void>
}

export interface Person {
  userId: string
  username: string
  token: string
  refreshToken: string
  sessionId: string
}

export interface IdentityOptions {
  config?: Partial<Config>
  secrets?: readonly string[]
}

export interface EachIdentities {
  dialect: 'sqlite' | 'postgres'
  /** Another server on the database of a first one: a replica on PostgreSQL; on SQLite close the first before. */
  again(first: Identities, options?: IdentityOptions): Promise<Identities>
}

/** Runs a suite on both databases; every `open()` is a server of its own, closed after the suite. */
export function identitiesOn(
  suite: (open: (options?: IdentityOptions) => Promise<Identities>, each: EachIdentities) => void,
): void {
  onEachDatabase((_open, { dialect, createUrl }) => {
    const opened: Identities[] = []
    const keep = async (made: Promise<Identities>) => {
      const hive = await made
      opened.push(hive)
      return hive
    }
    after(async () => {
      for (const hive of opened) await hive.close()
    })
    suite(async (options) => keep(openIdentities(await createUrl(), options)), {
      dialect,
      again: (first, options) => keep(openIdentities(first.url, { secrets: first.ctx.config.secrets, ...options })),
    })
  })
}

/** A server with these three nouns and projects; a second one on the same URL is another replica (PostgreSQL) or a restart. */
async function openIdentities(url: string, options: IdentityOptions = {}): Promise<Identities> {
  let now = startMs
  const clock = { now: () => now }
  const secrets = options.secrets ?? [generateSecret()]
  const config = { ...parseConfig({}), registration: 'open' as const, rateScale: 1_000_000, secrets, ...options.config }
  const db: Database = await openDatabase(url)
  const logLines: string[] = []
  const ctx: Context = {
    config,
    db,
    clock,
    random: createRandom(clock),
    log: createLogger({ write: (line) => void logLines.push(line) }),
    keyring: openKeyring(secrets),
    bus: createBus(),
  }
  const bearer = createBearerAuthenticator(ctx)
  const app = createHttp(ctx, { bearer, worker: async () => nobody })
  accountRoutes(app, ctx)
  sessionRoutes(app, ctx)
  keyRoutes(app, ctx)
  projectRoutes(app, ctx)
  await app.ready()

  const call: Identities['call'] = async (method, path, more = {}) => {
    const reply = await app.inject({
      method,
      url: path,
      headers: {
        ...(more.token !== undefined && { authorization: `Bearer ${more.token}` }),
        ...(more.body !== undefined && { 'content-type': 'application/json' }),
        ...more.headers,
      },
      ...(more.body !== undefined && { payload: JSON.stringify(more.body) }),
    })
    return { status: reply.statusCode, headers: reply.headers, body: reply.body === '' ? {} : reply.json() }
  }
  async function ok(method: 'POST', path: string, body: unknown): Promise<Record<string, unknown>> {
    const reply = await call(method, path, { body })
    if (reply.status >= 300) throw new Error(`${path} answered ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }
  async function logIn(login: string, device?: string): Promise<Login> {
    return (await ok('POST', '/api/v1/auth/login', {
      login,
      password,
      ...(device !== undefined && { device: { name: device } }),
    })) as Login
  }
  async function enter(username: string): Promise<Person> {
    const { accessToken, refreshToken, session, user } = await logIn(username)
    return { userId: user.id, username, token: accessToken, refreshToken, sessionId: session.id }
  }

  let isClosed = false
  return {
    url,
    ctx,
    app,
    logLines,
    advance: (ms) => {
      now += ms
    },
    call,
    logIn,
    async setUp() {
      const setupToken = await ensureSetupToken(ctx)
      const admin = { email: 'root@hive.test', username: 'root', password }
      await ok('POST', '/api/v1/setup', { setupToken, ...admin })
      return enter('root')
    },
    async person(name) {
      await ok('POST', '/api/v1/auth/register', { email: `${name}@hive.test`, username: name, password })
      return enter(name)
    },
    audited: (action) =>
      db.kysely.selectFrom('auditEvents').selectAll().where('action', '=', action).orderBy('id').execute(),
    settled: () => bearer.settled(),
    async close() {
      if (isClosed) return
      isClosed = true
      await bearer.settled()
      await app.close()
      await db.close()
    },
  }
}
