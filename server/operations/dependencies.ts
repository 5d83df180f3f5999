import { statfs } from 'node:fs/promises'
import { auditGauges } from '../audit/audit.ts'
import type { Context } from '../platform/context.ts'
import { DatabaseError } from '../platform/db/database-error.ts'
import { findDatabaseTime } from '../platform/db/dialect.ts'
import { isMigrated } from '../platform/db/migrate.ts'
import { gaugeGroup } from '../platform/gauges.ts'

/** The wait for the database: whoever asks, such as a load balancer, waits little longer either. */
const patienceMs = 2000
/** For the others, of which the disk may be slow and well. */
const slowPatienceMs = 5000
/** Strangers may ask as often as they like: what costs more than a ping is asked this often at most. */
const keepMs = 10_000
/** Beyond it signatures and links are judged too old or too young (RFC 9421 §7.2.2), and leases of other replicas end at the wrong time. */
const maxSkewMs = 30_000
const diskFloorBytes = 256 * 1024 * 1024
/** Events are sequenced each second. */
const maxAuditWaitSeconds = 120

/** What the server stands on. Without the database it answers nobody; without the others it does less. */
export const dependencies = ['database', 'store', 'disk', 'schema', 'clock', 'audit'] as const
export type Dependency = (typeof dependencies)[number]

/** What is wrong with each that is not well, in words for those who operate it. */
export type Troubles = ReadonlyMap<Dependency, string>

type Check = (ctx: Context) => Promise<string | undefined>

const slow: Record<Exclude<Dependency, 'database'>, Check> = {
  async store({ store }) {
    const probe = Buffer.from('ready?')
    const { key } = await store.put(chunks(probe), { maxBytes: probe.length })
    await store.remove(key)
    return undefined
  },
  async disk({ config }) {
    const { bavail, bsize } = await statfs(config.dataDir)
    const free = bavail * bsize
    return free < diskFloorBytes ? `${Math.floor(free / 1024 / 1024)} MiB are free in the data folder` : undefined
  },
  async schema({ db }) {
    try {
      return (await isMigrated(db)) ? undefined : 'a migration is missing'
    } catch (error) {
      // A newer version has brought it so far, and this one works with it: it is about to be replaced.
      if (error instanceof DatabaseError) return error.message
      throw error
    }
  },
  async clock({ db, clock }) {
    const databaseTime = await findDatabaseTime(db.kysely)
    // SQLite goes by the clock of this process.
    if (databaseTime === undefined) return undefined
    const skewMs = clock.now() - databaseTime
    const direction = skewMs > 0 ? 'ahead of' : 'behind'
    if (Math.abs(skewMs) <= maxSkewMs) return undefined
    return `this clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${direction} the database's`
  },
  async audit(ctx) {
    const readings = await auditGauges.read(ctx)
    const waited = readings.find(({ name }) => name === 'hivesync_audit_oldest_pending_seconds')?.value ?? 0
    return waited > maxAuditWaitSeconds ? `events have waited ${Math.round(waited)} s for the audit log` : undefined
  },
}

async function pingDatabase({ db }: Context): Promise<undefined> {
  await db.ping()
}

async function* chunks(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}

interface Kept {
  readAt: number
  troubles: Promise<Troubles>
}
const kept = new WeakMap<Context, Kept>()

/** Looks at each dependency, all at once; changes for better or worse are logged with their reason. */
export async function readTroubles(ctx: Context): Promise<Troubles> {
  const database = await troubleOf(ctx, pingDatabase, patienceMs)
  // The others mostly ask the database too: they would say the same.
  const others = database === undefined ? await readSlow(ctx) : new Map<Dependency, string>()
  const troubles = database === undefined ? others : new Map([['database' as const, database]])
  tellChanges(ctx, troubles)
  return troubles
}

function readSlow(ctx: Context): Promise<Troubles> {
  const now = ctx.clock.now()
  const known = kept.get(ctx)
  if (known !== undefined && Math.abs(now - known.readAt) < keepMs) return known.troubles
  const troubles = Promise.all(
    Object.entries(slow).map(
      async ([name, check]) => [name as Dependency, await troubleOf(ctx, check, slowPatienceMs)] as const,
    ),
  ).then((found) => new Map(found.flatMap(([name, trouble]) => (trouble === undefined ? [] : [[name, trouble]]))))
  kept.set(ctx, { readAt: now, troubles })
  return troubles
}

async function troubleOf(ctx: Context, check: Check, waitMs: number): Promise<string | undefined> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error('no answer in time')), waitMs)
  try {
    return await Promise.race([check(ctx), late.promise])
  } catch (error) {
    return error instanceof Error ? error.message : 'unknown'
  } finally {
    clearTimeout(timer)
  }
}

const told = new WeakMap<Context, Troubles>()

function tellChanges(ctx: Context, troubles: Troubles): void {
  const before: Troubles = told.get(ctx) ?? new Map()
  told.set(ctx, troubles)
  for (const [name, reason] of troubles)
    if (!before.has(name)) ctx.log.warn({ event: 'dependency_failed', name, reason })
  for (const name of before.keys()) if (!troubles.has(name)) ctx.log.info({ event: 'dependency_restored', name })
}

export const dependencyGauges = gaugeGroup({
  name: 'dependencies',
  families: {
    hivesync_dependency_up: '1 while what the server stands on is well: database, store, disk, schema, clock, audit',
  },
  async read(ctx) {
    const troubles = await readTroubles(ctx)
    return dependencies.map((dependency) => {
      return { name: 'hivesync_dependency_up', labels: { dependency }, value: troubles.has(dependency) ? 0 : 1 }
    })
  },
})
