import { openBullMq } from './bull-mq.ts'
import { createPostgres, findPostgres } from './databases.ts'
import { type JobSystem, openHiveSync } from './hivesync-jobs.ts'
import { openGraphileWorker, openPgBoss } from './other-queues.ts'
import {
  type BenchOptions,
  median,
  medianRatio,
  paceOf,
  type Report,
  spread,
  times,
  type Verdict,
  whole,
} from './report.ts'
import { keepInFlight, measureRounds } from './rounds.ts'

const inFlight = 32
const usualPace = { rounds: 5, sliceMs: 2000 }

interface Sample {
  perSecond: number
  cpuMsPerJob: number | null
}
type Name = keyof typeof labels
const labels = {
  embedded: 'HiveSync, SQLite, over HTTP',
  postgres: 'HiveSync, PostgreSQL, over HTTP',
  pgBoss: 'pg-boss, one by one, in-process',
  graphile: 'graphile-worker, defaults (1 at a time), in-process',
  graphile32: 'graphile-worker, concurrency 32, in-process',
  bullMq: 'BullMQ, concurrency 32, in-process, Redis with fsync',
}

/** P3: jobs through their whole life per second. Each system has a database of its own; they take turns. */
export async function measure({ profileDir, ...asked }: BenchOptions): Promise<Report> {
  const { rounds, sliceMs } = paceOf(asked, usualPace)
  await using cleanup = new AsyncDisposableStack()
  const systems: Partial<Record<Name, JobSystem>> = {
    embedded: cleanup.use(await openHiveSync(inFlight, { name: 'embedded', profileDir })),
  }
  if ((await findPostgres()) !== undefined) {
    const databaseUrl = async (purpose: string): Promise<string> => {
      const database = await createPostgres(purpose)
      cleanup.defer(database.drop)
      return database.url
    }
    const options = { name: 'postgres', databaseUrl: await databaseUrl('hivesync'), profileDir }
    systems.postgres = cleanup.use(await openHiveSync(inFlight, options))
    systems.pgBoss = cleanup.use(await openPgBoss(await databaseUrl('pg_boss')))
    systems.graphile = cleanup.use(await openGraphileWorker(await databaseUrl('graphile')))
    systems.graphile32 = cleanup.use(await openGraphileWorker(await databaseUrl('graphile_32'), inFlight))
  }
  const bullMq = await openBullMq(inFlight)
  if (typeof bullMq !== 'string') systems.bullMq = cleanup.use(bullMq)
  const entries = Object.entries(systems) as [Name, JobSystem][]
  const lives = new Map<Name, number>()
  const variants = Object.fromEntries(
    entries.map(([name, system]) => [
      name,
      async () => {
        const { sample, count } = await measureSlice(system, sliceMs)
        lives.set(name, (lives.get(name) ?? 0) + count)
        return sample
      },
    ]),
  ) as Record<Name, () => Promise<Sample>>
  const samples: Partial<Record<Name, Sample[]>> = await measureRounds(rounds, variants)
  for (const [name, system] of entries) await system.verify?.(lives.get(name) ?? 0)
  const missing = typeof bullMq === 'string' ? bullMq : undefined
  return report(samples, `${rounds} rounds of ${sliceMs} ms each, medians`, missing)
}

async function measureSlice(system: JobSystem, sliceMs: number): Promise<{ sample: Sample; count: number }> {
  const cpuBefore = system.cpuMs?.() ?? null
  const { count, elapsedMs } = await keepInFlight(inFlight, sliceMs, () => system.live())
  const cpuMs = cpuBefore === null ? null : (system.cpuMs?.() ?? 0) - cpuBefore
  return {
    sample: { perSecond: (count * 1000) / elapsedMs, cpuMsPerJob: cpuMs === null ? null : cpuMs / count },
    count,
  }
}

function report(samples: Partial<Record<Name, Sample[]>>, pace: string, missingBullMq: string | undefined): Report {
  const rates = (name: Name): number[] | undefined => samples[name]?.map(({ perSecond }) => perSecond)
  const ratioOf = (name: Name, other: Name): number | null => {
    const [mine, theirs] = [rates(name), rates(other)]
    return mine === undefined || theirs === undefined ? null : medianRatio(mine, theirs)
  }
  const rows = (Object.keys(samples) as Name[]).map((name) => {
    const own = rates(name) ?? []
    const cpu = samples[name]?.flatMap(({ cpuMsPerJob }) => cpuMsPerJob ?? []) ?? []
    const ratio = ratioOf(name, 'pgBoss')
    return [
      labels[name],
      whole(median(own)),
      spread(own, whole),
      cpu.length === 0 ? '' : median(cpu).toFixed(2),
      ratio === null ? '' : times(ratio),
    ]
  })
  const verdict = (name: Name, other: Name, least: number): Verdict => {
    const ratio = ratioOf(name, other)
    const what = `${labels[name]} against ${labels[other]}, at least ${times(least)}`
    return ratio === null
      ? { claim: 'P3', text: `${what}: no PostgreSQL answers`, holds: null }
      : { claim: 'P3', text: `${times(ratio)}: ${what}`, holds: ratio >= least }
  }
  // Beside, not against: a store of its own, apart from the rows it is about. It judges nothing.
  const beside = (['embedded', 'postgres'] as const).flatMap((name) => {
    const ratio = ratioOf(name, 'bullMq')
    return ratio === null ? [] : [`${labels[name]}: ${times(ratio)} ${labels.bullMq}.`]
  })
  return {
    title: `P3 · jobs through their whole life, ${inFlight} in flight`,
    head: ['', 'jobs per s', 'least–most', 'server CPU ms per job', 'of pg-boss'],
    rows,
    verdicts: [
      verdict('embedded', 'pgBoss', 2),
      verdict('embedded', 'graphile', 1),
      verdict('postgres', 'pgBoss', 1),
      ...(missingBullMq === undefined ? [] : [{ claim: 'P3', text: `BullMQ beside: ${missingBullMq}`, holds: null }]),
    ],
    notes: [
      ...beside,
      `submit → claim by long poll → start → complete, every worker request signed; ${pace}.`,
      'Checked afterwards: as many jobs and attempts succeeded in the database as were counted here, none left over.',
    ],
  }
}
