// A control plane in this process, on each database, with a clock of its own: what every server test starts from.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import type { BodyOf, Endpoint, ParamsOf, QueryOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import type { Problem } from '@hivesync/contracts/values.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair, importPrivateKey, type SignatureKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { ensureSetupToken, setPasswordHasher } from '../../server/accounts/accounts.ts'
import { createApp } from '../../server/app.ts'
import { createRefusalAudit, type RefusalAudit } from '../../server/audit/refusals.ts'
import { createBus } from '../../server/platform/bus.ts'
import type { Clock } from '../../server/platform/clock.ts'
import { type Config, parseConfig } from '../../server/platform/config.ts'
import type { Context } from '../../server/platform/context.ts'
import { openKeyring } from '../../server/platform/crypto/keyring.ts'
import { createPasswordHasher } from '../../server/platform/crypto/password.ts'
import { generateSecret } from '../../server/platform/crypto/secret-strength.ts'
import { type Database, openDatabase } from '../../server/platform/db/db.ts'
import { type EachDatabase, onEachDatabase } from '../../server/platform/db/test-databases.ts'
import { createLogger } from '../../server/platform/logger.ts'
import { createMailTransport } from '../../server/platform/mail/transport.ts'
import { createMetrics } from '../../server/platform/metrics.ts'
import { createNet } from '../../server/platform/net/net.ts'
import { createRandom } from '../../server/platform/random.ts'
import { openStore } from '../../server/platform/store/open-store.ts'
import { closeIndexes } from '../../server/search/search.ts'
import { mailTo, type ReceivedMail, readMails } from './mails.ts'
import { createProofs, type Proofs } from './proofs.ts'

export const password = 'nine amber drones hum at noon'

export interface TestClock extends Clock {
  advance(ms: number): void
}

export interface Reply<E> {
  status: number
  headers: Record<string, unknown>
  /** The reply of success; reading it of a refusal fails the test. */
  readonly body: ReplyOf<E>
  /** The problem of a refusal. */
  readonly problem: Problem
}

export interface CallOptions<E> {
  params?: ParamsOf<E>
  query?: Partial<QueryOf<E>>
  body?: BodyOf<E>
  /** The body of an operation that takes bytes. */
  content?: Uint8Array
  token?: string
  headers?: Record<string, string>
}

export interface Person {
  username: string
  userId: string
  teamId: string
  sessionId: string
  token: string
  refreshToken: string
}

export interface TestWorker {
  id: string
  /** What it signs with. */
  key: SignatureKey
  /** A request signed as the worker agent signs it. */
  call<const E extends Endpoint>(endpoint: E, options?: CallOptions<E>): Promise<Reply<E>>
  /** Takes up to `slots` jobs, or none. */
  claim(slots?: number, waitSeconds?: number): Promise<protocol.Claim[]>
}

export interface Hive extends AsyncDisposable, Pick<Proofs, 'stepUp' | 'enrolTotp'> {
  readonly ctx: Context
  readonly app: FastifyInstance
  readonly clock: TestClock
  readonly refusals: RefusalAudit
  /** Every log line so far, as text. */
  readonly logged: string[]
  /** Delivers what is queued and reads every mail so far, oldest first. */
  mails(): Promise<ReceivedMail[]>
  /** The newest mail to an address; fails the test when there is none. */
  mailTo(address: string): Promise<ReceivedMail>
  call<const E extends Endpoint>(endpoint: E, options?: CallOptions<E>): Promise<Reply<E>>
  inject(options: InjectOptions): Promise<LightMyRequestResponse>
  /** The first admin; set up at the first call. */
  admin(): Promise<Person>
  /** Somebody registered and logged in; the same person each time. */
  person(username: string): Promise<Person>
  /** One more session of somebody, with the second factor that `enrolTotp` gave them. */
  logInAgain(username: string, more?: LoginOptions): Promise<Person>
  project(owner: Person, name?: string): Promise<string>
  worker(options?: {
    labels?: string[]
    kinds?: ('ingest' | 'compute')[]
    slots?: number
    teamId?: string
    isolation?: 'full' | 'reduced' | 'none'
  }): Promise<TestWorker>
}

export interface LoginOptions {
  password?: string
  device?: { name?: string; token?: string }
  headers?: Record<string, string>
}

export interface OpenOptions {
  config?: Partial<Config>
  /** Instead of the test's own clock. */
  clock?: Clock
}

/** Runs a suite on SQLite and on PostgreSQL, or on SQLite alone where a browser's side is shown and the verbs behind it have their tests on both; each `open` gives a control plane on a database of its own. */
export function describeHive(
  name: string,
  suite: (open: (options?: OpenOptions) => Promise<Hive>, each: EachDatabase) => void,
  databases: { only?: 'sqlite' } = {},
): void {
  describe(name, () => {
    onEachDatabase((_open, each) => {
      suite(async (options) => openHive(await each.createUrl(), options), each)
    }, databases)
  })
}

async function openHive(databaseUrl: string, options: OpenOptions = {}): Promise<Hive> {
  const dataDir = await mkdtemp(join(tmpdir(), 'hivesync-hive-'))
  const clock = testClock()
  const logged: string[] = []
  const random = createRandom(clock)
  const db = await openDatabase(databaseUrl, { transactionTimeoutMs: 60_000, statementTimeoutMs: 120_000 })
  const config: Config = {
    ...parseConfig({
      HIVESYNC_DATA: dataDir,
      HIVESYNC_RATE_SCALE: '1000000',
      HIVESYNC_REGISTRATION: 'open',
      // Nobody answers there: no test asks the machine's own name servers.
      HIVESYNC_DNS_SERVERS: '127.0.0.1:9',
    }),
    databaseUrl,
    ...options.config,
  }
  const keyring = openKeyring([generateSecret()])
  const ctx: Context = {
    config,
    db,
    clock: options.clock ?? clock,
    random,
    log: createLogger({ write: (line) => void logged.push(line) }),
    keyring,
    bus: createBus(),
    metrics: createMetrics(),
    store: openStore(config.store, { clock: options.clock ?? clock, random, keyring }),
    mail: createMailTransport(config),
    net: createNet(config.egress, (options.clock ?? clock).now),
  }
  // The smallest cost that Argon2 has: the tests are about the rules around it.
  setPasswordHasher(
    ctx,
    createPasswordHasher({
      permits: 2,
      maxQueued: 256,
      deadlineMs: 60_000,
      cost: { memoryCost: 8, timeCost: 1, parallelism: 1 },
    }),
  )
  const refusals = createRefusalAudit(ctx)
  const app = createApp(ctx, refusals)
  await app.ready()
  return createHive({ ctx, app, refusals, clock, logged, db, dataDir })
}

function createHive(parts: {
  ctx: Context
  app: FastifyInstance
  refusals: RefusalAudit
  clock: TestClock
  logged: string[]
  db: Database
  dataDir: string
}): Hive {
  const { ctx, app, refusals, clock, logged, db, dataDir } = parts
  const people = new Map<string, Promise<Person>>()
  let setup: Promise<Person> | undefined

  const call: Hive['call'] = async (endpoint, options = {}) => {
    const { content } = options
    const payload =
      content !== undefined
        ? { payload: Buffer.from(content), headers: { 'content-type': 'application/octet-stream' } }
        : options.body === undefined
          ? {}
          : { payload: JSON.stringify(options.body), headers: { 'content-type': 'application/json' } }
    const authorization = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }
    const reply = await app.inject({
      method: endpoint.method,
      url: targetOf(endpoint, options),
      ...payload,
      headers: { ...payload.headers, ...authorization, ...options.headers },
    })
    return toReply(reply)
  }

  const proofs = createProofs({ ctx, clock, call }, password)

  const hive: Hive = {
    stepUp: proofs.stepUp,
    enrolTotp: proofs.enrolTotp,
    logInAgain: (username, more) => logIn(hive, proofs, username, more),
    ctx,
    app,
    clock,
    refusals,
    logged,
    call,
    inject: async (options) => app.inject(options),
    admin: () => {
      setup ??= setUp(hive)
      return setup
    },
    async person(username) {
      await hive.admin()
      const known = people.get(username) ?? register(hive, username)
      people.set(username, known)
      return known
    },
    async project(owner, name = 'honeycomb') {
      const reply = await call(projects.createProject, { token: owner.token, body: { name } })
      return reply.body.id
    },
    worker: (options) => enrol(hive, options),
    mails: () => readMails(ctx),
    mailTo: (address) => mailTo(ctx, address),
    async [Symbol.asyncDispose]() {
      await app.close()
      await ctx.net.close()
      await closeIndexes(ctx)
      await db.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
  return hive
}

async function setUp(hive: Hive): Promise<Person> {
  const setupToken = await ensureSetupToken(hive.ctx)
  assert.ok(setupToken)
  const body = { setupToken, email: 'queen@example.net', username: 'queen', password }
  const reply = await hive.call(accounts.setUp, { body })
  assert.equal(reply.status, 201)
  return hive.logInAgain('queen')
}

async function register(hive: Hive, username: string): Promise<Person> {
  const reply = await hive.call(accounts.register, { body: { email: `${username}@example.net`, username, password } })
  assert.equal(reply.status, 201, JSON.stringify(reply.problem))
  return hive.logInAgain(username)
}

async function logIn(hive: Hive, proofs: Proofs, username: string, more: LoginOptions = {}): Promise<Person> {
  const { headers, device } = more
  const credentials = { login: username, password: more.password ?? password, ...(device && { device }) }
  const sent = headers === undefined ? {} : { headers }
  let { body } = await hive.call(sessions.logIn, { body: credentials, ...sent })
  if ('mfaRequired' in body) {
    const code = proofs.authenticatorOf(await userIdOf(hive, username))?.code() ?? ''
    const { mfaToken } = body
    body = (await hive.call(sessions.completeMfa, { body: { mfaToken, method: 'totp', code }, ...sent })).body
  }
  const team = await hive.ctx.db.kysely
    .selectFrom('teams')
    .select('id')
    .where('personalUserId', '=', body.user.id)
    .executeTakeFirstOrThrow()
  return {
    username,
    userId: body.user.id,
    teamId: team.id,
    sessionId: body.session.id,
    token: body.accessToken,
    refreshToken: body.refreshToken,
  }
}

async function userIdOf(hive: Hive, username: string): Promise<string> {
  const { id } = await hive.ctx.db.kysely
    .selectFrom('users')
    .select('id')
    .where('username', '=', username)
    .executeTakeFirstOrThrow()
  return id
}

async function enrol(hive: Hive, options: Parameters<Hive['worker']>[0] = {}): Promise<TestWorker> {
  const { token } = await hive.admin()
  const { labels = [], kinds = ['ingest', 'compute'], slots = 4, teamId, isolation = 'full' } = options
  const enrolment = await hive.call(workers.createEnrolment, { token, body: teamId === undefined ? {} : { teamId } })
  const pair = generateEncodedKeyPair()
  const { enrolmentToken } = enrolment.body
  const { body: identity } = await hive.call(protocol.enrolWorker, {
    body: { enrolmentToken, name: 'drone', publicKey: pair.publicKey },
  })
  const key = importPrivateKey(pair)
  const report: WorkerReport = {
    version: '0.1.0',
    labels,
    kinds,
    slots,
    isolation: { level: isolation, layers: [], reason: null },
  }

  const call: TestWorker['call'] = async (endpoint, request = {}) => {
    const json = request.body === undefined ? '' : JSON.stringify(request.body)
    const body = Buffer.from(request.content ?? Buffer.from(json))
    const target = targetOf(endpoint, request)
    const createdSeconds = Math.floor(hive.ctx.clock.now() / 1000)
    const signed = signRequest({
      method: endpoint.method,
      target,
      body,
      keyId: identity.workerId,
      key,
      createdSeconds,
      nonce: hive.ctx.random.token(16),
    })
    const mediaType = request.content === undefined ? 'application/json' : 'application/octet-stream'
    const type = body.length === 0 ? {} : { 'content-type': mediaType }
    return toReply(
      await hive.app.inject({
        method: endpoint.method,
        url: target,
        payload: body,
        headers: { ...type, ...signed, ...request.headers },
      }),
    )
  }
  return {
    id: identity.workerId,
    key,
    call,
    async claim(freeSlots = 1, waitSeconds = 0) {
      const reply = await call(protocol.claimJobs, { body: { report, freeSlots, waitSeconds } })
      return reply.body.jobs
    },
  }
}

function targetOf(endpoint: Endpoint, options: { params?: unknown; query?: unknown }): string {
  const params = new Map(Object.entries(options.params ?? {}))
  const path = endpoint.path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(params.get(name))))
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(options.query ?? {})) query.set(name, String(value))
  return query.size === 0 ? path : `${path}?${query}`
}

function toReply<E>(reply: { statusCode: number; headers: Record<string, unknown>; body: string }): Reply<E> {
  return {
    status: reply.statusCode,
    headers: reply.headers,
    get body() {
      assert.ok(reply.statusCode < 300, `${reply.statusCode} ${reply.body}`)
      return (reply.body === '' ? undefined : JSON.parse(reply.body)) as ReplyOf<E>
    },
    get problem() {
      return JSON.parse(reply.body || '{}') as Problem
    },
  }
}

function testClock(): TestClock {
  let now = Date.UTC(2026, 0, 5, 12)
  return {
    now: () => now,
    advance(ms) {
      now += ms
    },
  }
}
