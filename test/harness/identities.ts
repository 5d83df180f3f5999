// For tests of accounts, sessions and keys: a server on a fresh database, driven over HTTP by path, so that also what no contract allows can be sent.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { Login } from '@hivesync/contracts/sessions.ts'
import type { FastifyInstance } from 'fastify'
import { ensureSetupToken } from '../../server/accounts/accounts.ts'
import { createApp } from '../../server/app.ts'
import { createRefusalAudit } from '../../server/audit/refusals.ts'
import { createBearerAuthenticator } from '../../server/keys/keys.ts'
import { createBus } from '../../server/platform/bus.ts'
import { type Config, parseConfig } from '../../server/platform/config.ts'
import type { Context } from '../../server/platform/context.ts'
import { openKeyring } from '../../server/platform/crypto/keyring.ts'
import { generateSecret } from '../../server/platform/crypto/secret-strength.ts'
import { type Database, openDatabase } from '../../server/platform/db/db.ts'
import { onEachDatabase } from '../../server/platform/db/test-databases.ts'
import { createLogger } from '../../server/platform/logger.ts'
import { createMailTransport } from '../../server/platform/mail/transport.ts'
import { createMetrics } from '../../server/platform/metrics.ts'
import { createNet } from '../../server/platform/net/net.ts'
import { createRandom } from '../../server/platform/random.ts'
import { openStore } from '../../server/platform/store/open-store.ts'
import { mailTo, type ReceivedMail, readMails } from './mails.ts'

export const password = 'nine amber drones hum at noon'
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
  /** Delivers what is queued and reads every mail so far, oldest first. */
  mails(): Promise<ReceivedMail[]>
  /** The newest mail to an address; fails the test when there is none. */
  mailTo(address: string): Promise<ReceivedMail>
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

/** A server; a second one on the same URL is another replica (PostgreSQL) or a restart. */
async function openIdentities(url: string, options: IdentityOptions = {}): Promise<Identities> {
  let now = startMs
  const clock = { now: () => now }
  const secrets = options.secrets ?? [generateSecret()]
  const dataDir = await mkdtemp(join(tmpdir(), 'hivesync-identities-'))
  const config: Config = {
    ...parseConfig({ HIVESYNC_DATA: dataDir }),
    registration: 'open',
    rateScale: 1_000_000,
    secrets,
    ...options.config,
  }
  const db: Database = await openDatabase(url)
  const logLines: string[] = []
  const random = createRandom(clock)
  const keyring = openKeyring(secrets)
  const ctx: Context = {
    config,
    db,
    clock,
    random,
    log: createLogger({ write: (line) => void logLines.push(line) }),
    keyring,
    bus: createBus(),
    metrics: createMetrics(),
    store: openStore(config.store, { clock, random, keyring }),
    mail: createMailTransport(config),
    net: createNet(config.egress, clock.now),
  }
  const bearer = createBearerAuthenticator(ctx)
  const app = createApp(ctx, createRefusalAudit(ctx), bearer)
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
    mails: () => readMails(ctx),
    mailTo: (address) => mailTo(ctx, address),
    settled: () => bearer.settled(),
    async close() {
      if (isClosed) return
      isClosed = true
      await bearer.settled()
      await app.close()
      await db.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
