import { type Claim, claimJobs, completeLease, heartbeat, startLease } from '@hivesync/contracts/worker-protocol.ts'
import { openClient } from './connection.ts'
import { createPostgres, findPostgres, runSql } from './databases.ts'
import { enrol, reportOf, type SignedCall } from './remote-worker.ts'
import {
  type BenchOptions,
  median,
  medianRatio,
  quantile,
  type Report,
  spread,
  times,
  type Verdict,
  whole,
} from './report.ts'
import { measureRounds } from './rounds.ts'
import { type Api, type BenchServer, makeFolder, profiling, signInAdmin, startServer } from './server.ts'
import { copyQueued, createBenchTeam } from './team.ts'

const usualRounds = 5
const claimsPerRound = 100
/** The queue's jobs lie evenly in so many teams, which the claim weighs against each other. */
const teams = 10
const few = 1000
const many = 1_000_000
const greed = 100_000
/** Jobs that the largest plan runs at once. */
const runningAtOnce = 50
const beatMs = 5000
const share = 0.95
const most = 1.5

const names = ['few', 'many', 'besideGreedy'] as const
type Name = (typeof names)[number]
const labels: Record<Name, string> = {
  few: `${whole(few)} queued`,
  many: `${whole(many)} queued`,
  besideGreedy: `${whole(few)} queued, beside a team that runs all it may and has ${whole(greed)} queued`,
}
type ClaimOnce = () => Promise<number>

/** P5: what one claim takes with few jobs waiting, with a million, and beside a team that has filled its share. */
export async function measure({ profileDir, rounds = usualRounds }: BenchOptions): Promise<Report> {
  const spare = claimsPerRound * (rounds + 1) // claimed while measuring: the queue never falls below its figure
  const measured: { database: string; samples: Record<Name, number[][]> }[] = []
  const measureOn = async (
    database: string,
    createUrl: (purpose: string) => Promise<string | undefined>,
  ): Promise<void> => {
    await using cleanup = new AsyncDisposableStack()
    const open = async (name: Name, queued: number): Promise<() => Promise<number[]>> => {
      const nodeOptions = profiling(profileDir, `p5-${database}-${name}`)
      const options = { databaseUrl: await createUrl(`p5_${name.toLowerCase()}`), nodeOptions }
      const claimOnce = await openQueue(cleanup, options, {
        queued: queued + spare,
        isBesideGreedy: name === 'besideGreedy',
      })
      return () => repeat(claimOnce)
    }
    const variants = {
      few: await open('few', few),
      many: await open('many', many),
      besideGreedy: await open('besideGreedy', few),
    }
    measured.push({ database, samples: await measureRounds(rounds, variants) })
  }
  await measureOn('SQLite', async () => undefined)
  if ((await findPostgres()) !== undefined) {
    await using databases = new AsyncDisposableStack()
    await measureOn('PostgreSQL', async (purpose) => {
      const database = await createPostgres(purpose)
      databases.defer(database.drop)
      return database.url
    })
  }
  return report(measured, rounds)
}

async function repeat(claimOnce: ClaimOnce): Promise<number[]> {
  const latencies: number[] = []
  while (latencies.length < claimsPerRound) latencies.push(await claimOnce())
  return latencies
}

async function openQueue(
  cleanup: AsyncDisposableStack,
  options: { databaseUrl: string | undefined; nodeOptions: string[] },
  { queued, isBesideGreedy }: { queued: number; isBesideGreedy: boolean },
): Promise<ClaimOnce> {
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const server = await startServer({ folder: folder.path, ...options })
  cleanup.defer(server.stop)
  const api = await signInAdmin(server)
  cleanup.defer(() => api.client.close())
  const client = openClient(server.url)
  cleanup.defer(() => client.close())
  if (isBesideGreedy) {
    await fillTeam(server, api, 'greedy', greed)
    await holdShare(cleanup, await enrol(client, api))
  }
  for (let number = 0; number < teams; number++)
    await fillTeam(server, api, `team ${number}`, Math.ceil(queued / teams))
  // What autovacuum would come round to: a table that was just filled has no statistics yet.
  if (!server.databaseUrl.startsWith('sqlite:')) await runSql(server.databaseUrl, 'vacuum analyze')
  const call = await enrol(client, api)
  const body = { report: reportOf(1), freeSlots: 1, waitSeconds: 0 }
  return async () => {
    const askedAt = performance.now()
    const { jobs } = await call<{ jobs: Claim[] }>(claimJobs.path, claimJobs.status, body)
    const elapsedMs = performance.now() - askedAt
    const [claim] = jobs
    if (claim === undefined) throw new Error('a claim came back empty though jobs wait')
    const lease = { token: String(claim.token) }
    await call(startLease.path, startLease.status, undefined, lease)
    await call(completeLease.path, completeLease.status, { outcome: 'succeeded', result: {} }, lease)
    return elapsedMs
  }
}

async function fillTeam(server: BenchServer, api: Api, name: string, queued: number): Promise<void> {
  const team = await createBenchTeam(server, api, name)
  await copyQueued(server.databaseUrl, await team.submit(), queued - 1)
}

/** Runs as many jobs of the only team there is as its plan allows, and goes on beating for them. */
async function holdShare(cleanup: AsyncDisposableStack, call: SignedCall): Promise<void> {
  const held: number[] = []
  while (held.length < runningAtOnce) {
    const body = { report: reportOf(runningAtOnce), freeSlots: runningAtOnce - held.length, waitSeconds: 1 }
    const { jobs } = await call<{ jobs: Claim[] }>(claimJobs.path, claimJobs.status, body)
    for (const { token } of jobs) {
      await call(startLease.path, startLease.status, undefined, { token: String(token) })
      held.push(token)
    }
  }
  let failure: unknown
  const beating = setInterval(() => {
    call(heartbeat.path, heartbeat.status, { leases: held }).catch((error: unknown) => {
      failure ??= error
    })
  }, beatMs)
  cleanup.defer(() => {
    clearInterval(beating)
    if (failure !== undefined) throw failure
  })
}

function report(measured: readonly { database: string; samples: Record<Name, number[][]> }[], rounds: number): Report {
  const p95s = (rounds: number[][]): number[] => rounds.map((latencies) => quantile(latencies, share))
  const milliseconds = (value: number): string => value.toFixed(1)
  const rows = measured.flatMap(({ database, samples }) =>
    names.map((name) => [
      `${database}: ${labels[name]}`,
      milliseconds(median(samples[name].flat())),
      milliseconds(median(p95s(samples[name]))),
      spread(p95s(samples[name]), milliseconds),
      times(medianRatio(p95s(samples[name]), p95s(samples.few))),
    ]),
  )
  const verdicts = measured.flatMap(({ database, samples }) =>
    (['many', 'besideGreedy'] as const).map((name): Verdict => {
      const ratio = medianRatio(p95s(samples[name]), p95s(samples.few))
      return {
        claim: 'P5',
        text: `${database}, ${labels[name]}: ${times(ratio)} that with ${whole(few)}, at most ${times(most)}`,
        holds: ratio <= most,
      }
    }),
  )
  const missing: Verdict[] = measured.length > 1 ? [] : [{ claim: 'P5', text: 'PostgreSQL: none answers', holds: null }]
  return {
    title: 'P5 · one claim over HTTP, p95',
    head: ['', 'p50 ms', 'p95 ms', 'p95 least–most', 'of the first'],
    rows,
    verdicts: [...verdicts, ...missing],
    notes: [
      `${rounds} rounds of ${claimsPerRound} claims each, one after another, by one worker; the jobs in ${teams} teams, copied by SQL.`,
    ],
  }
}
