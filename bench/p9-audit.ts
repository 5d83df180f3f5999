import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { insertAudits } from '../server/audit/audit.ts'
import { sealAudit } from '../server/audit/sequence.ts'
import { verifyDatabase } from '../server/audit/verify-database.ts'
import { type Actor, nobody } from '../server/platform/actor.ts'
import { parseConfig } from '../server/platform/config.ts'
import type { Context } from '../server/platform/context.ts'
import { insert, run, type Statement } from '../server/platform/db/statement.ts'
import { createLogger } from '../server/platform/logger.ts'
import { openContext } from '../server/platform/open-context.ts'
import { createPostgres, findPostgres } from './databases.ts'
import { type BenchOptions, median, medianRatio, type Report, spread, times, type Verdict, whole } from './report.ts'
import { measureRounds } from './rounds.ts'

const usualRounds = 5
const perBatch = 500
const perRound = 10_000
/** The claim speaks of 10 M rows; this many are appended here, and what a leaf costs then is held against what it cost at first. */
const grownTo = 300_000
const actor: Actor = { ...nobody, kind: 'system', requestId: '01890000-0000-7000-8000-000000000000', ip: null }
const jobId = '01890000-0000-7000-8000-000000000001'
const details = { kind: 'compute', reason: null }

const plainColumns = {
  id: 'text',
  at: 'bigint',
  actorKind: 'text',
  actorId: 'text',
  teamId: 'text',
  projectId: 'text',
  action: 'text',
  targetKind: 'text',
  targetId: 'text',
  outcome: 'text',
  requestId: 'text',
  ip: 'text',
  details: 'text',
} as const

interface Measured {
  database: string
  plain: number[]
  recorded: number[]
  append: number[]
  grownPlain: number[]
  grown: number[]
  verify: number[]
}

/** P9: events a second into a table that proves nothing, into the log's tables, and into the log with their leaves; then all of it verified. */
export async function measure({ rounds = usualRounds }: BenchOptions): Promise<Report> {
  const measured = [await measureOn('SQLite', undefined, rounds)]
  if ((await findPostgres()) !== undefined) {
    const database = await createPostgres('p9')
    try {
      measured.push(await measureOn('PostgreSQL', database.url, rounds))
    } finally {
      await database.drop()
    }
  }
  return report(measured, rounds)
}

async function measureOn(database: string, url: string | undefined, rounds: number): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-bench-'))
  const config = parseConfig({ HIVESYNC_DATA: folder, ...(url !== undefined && { HIVESYNC_DATABASE_URL: url }) })
  const ctx = await openContext(config, createLogger({ write: () => {} }, 'silent'))
  try {
    // The same columns and the same indexes, and nothing that follows from a row.
    await ctx.db.runScript(
      `create table bench_plain as select * from audit_events where 1 = 0;
      create unique index bench_plain_id on bench_plain (id);
      create index bench_plain_team on bench_plain (team_id, id); create index bench_plain_actor on bench_plain (actor_id, id)`,
    )
    const { plain, recorded, append } = await measureRounds(rounds, {
      plain: () => rateOf(perRound, () => appendAll(ctx, perRound, plainRows)),
      recorded: () =>
        rateOf(
          perRound,
          () => appendAll(ctx, perRound, auditRows),
          () => sequenceAll(ctx),
        ),
      append: () =>
        rateOf(perRound, async () => {
          await appendAll(ctx, perRound, auditRows)
          await sequenceAll(ctx)
        }),
    })
    await appendAll(ctx, grownTo, plainRows)
    await appendAll(ctx, grownTo, auditRows)
    await sequenceAll(ctx)
    const { grownPlain, grown } = await measureRounds(rounds, {
      grownPlain: () => rateOf(perRound, () => appendAll(ctx, perRound, plainRows)),
      grown: () =>
        rateOf(perRound, async () => {
          await appendAll(ctx, perRound, auditRows)
          await sequenceAll(ctx)
        }),
    })
    // By itself: reading all of it leaves nothing of the others in any cache.
    const { verify } = await measureRounds(rounds, { verify: () => verifyRate(ctx) })
    return { database, plain, recorded, append, grownPlain, grown, verify }
  } finally {
    await ctx.mail.close()
    await ctx.net.close()
    await ctx.db.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function rateOf(count: number, work: () => Promise<void>, after: () => Promise<void> = async () => {}) {
  const startedAt = performance.now()
  await work()
  const elapsedMs = performance.now() - startedAt
  await after()
  return (count * 1000) / elapsedMs
}

async function appendAll(ctx: Context, count: number, rowsOf: (ctx: Context) => Statement): Promise<void> {
  for (let done = 0; done < count; done += perBatch) {
    await ctx.db.transaction(async (tx) => {
      await run(tx, rowsOf(ctx))
    })
  }
}

function auditRows(ctx: Context): Statement {
  const target = { kind: 'job', id: jobId }
  const act = { actor, action: 'job.succeeded', target, teamId: jobId, projectId: jobId, details }
  return insertAudits(
    ctx,
    Array.from({ length: perBatch }, () => act),
  )
}

function plainRows(ctx: Context): Statement {
  const at = ctx.clock.now()
  const target = { targetKind: 'job', targetId: jobId, teamId: jobId, projectId: jobId, ip: null }
  const act = { at, actorKind: 'system', actorId: null, action: 'job.succeeded', outcome: 'succeeded', ...target }
  const row = { ...act, requestId: actor.requestId, details: JSON.stringify(details) }
  return insert(
    'bench_plain',
    plainColumns,
    Array.from({ length: perBatch }, () => ({ ...row, id: ctx.random.id() })),
  )
}

/** Every committed event; one run of it takes at most 20,000. */
async function sequenceAll(ctx: Context): Promise<void> {
  for (;;) {
    await sealAudit(ctx)
    const waiting = await ctx.db.kysely.selectFrom('auditPending').select('eventId').limit(2).execute()
    if (waiting.length < 2) return
  }
}

async function verifyRate(ctx: Context): Promise<number> {
  const startedAt = performance.now()
  const { outcome, leaves } = await verifyDatabase(ctx.db.kysely)
  if (outcome !== 'ok') throw new Error(`the log of the bench is ${outcome}`)
  return (leaves * 1000) / (performance.now() - startedAt)
}

function report(measured: readonly Measured[], rounds: number): Report {
  const rate = (values: readonly number[]) => `${whole(median(values))} (${spread(values, whole)})`
  const verdicts: Verdict[] = measured.flatMap(({ database, append, plain, grownPlain, grown, verify }) => [
    {
      claim: 'P9 append',
      text: `${database}: ${whole(median(append))} events/s into the log with their leaves, at least 50,000 asked; ${times(medianRatio(append, plain))} of an unchained insert`,
      holds: median(append) >= 50_000,
    },
    {
      claim: 'P9 verify',
      text: `${database}: ${whole(median(verify))} leaves/s, at least 100,000 asked`,
      holds: median(verify) >= 100_000,
    },
    {
      claim: 'P9 growth',
      text: `${database}: behind ${whole(grownTo)} rows each, the log makes ${times(medianRatio(grown, grownPlain) / medianRatio(append, plain))} of its share of the unchained insert at first; at least 0.80 asked`,
      holds: medianRatio(grown, grownPlain) / medianRatio(append, plain) >= 0.8,
    },
  ])
  return {
    title: `P9: the audit log, ${whole(perRound)} events a round in transactions of ${perBatch}, ${rounds} rounds (events/s, median and range)`,
    head: ['', ...measured.map(({ database }) => database)],
    rows: [
      ['unchained insert', ...measured.map(({ plain }) => rate(plain))],
      ['recorded, without leaves', ...measured.map(({ recorded }) => rate(recorded))],
      ['recorded and sequenced', ...measured.map(({ append }) => rate(append))],
      [`unchained insert behind ${whole(grownTo)} rows`, ...measured.map(({ grownPlain }) => rate(grownPlain))],
      [`recorded and sequenced behind ${whole(grownTo)} leaves`, ...measured.map(({ grown }) => rate(grown))],
      ['verified, leaves/s', ...measured.map(({ verify }) => rate(verify))],
    ],
    verdicts,
    notes: [
      'One process does all of it, one thing after the other: the insert, the sequencing and the verification share a core with the event loop.',
      `The growth to 10 M rows is judged at ${whole(grownTo)}.`,
    ],
  }
}
