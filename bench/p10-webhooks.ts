// P10: deliveries of webhooks per CPU-second of the sending process, from rows of the outbox to recorded attempts, beside an endpoint that hangs.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { generateSecret } from '../server/platform/crypto/secret-strength.ts'
import { createPostgres, findPostgres } from './databases.ts'
import { plainEnvironment, startNode, stopProcess } from './processes.ts'
import { type BenchOptions, median, medianRatio, paceOf, type Report, spread, whole } from './report.ts'
import { measureRounds } from './rounds.ts'
import { makeFolder } from './server.ts'

const goal = 5000
const perRound = 8000

interface Sample {
  /** Of CPU time, and by the clock. */
  perCpuSecond: number
  perSecond: number
}

export async function measure(options: BenchOptions): Promise<Report> {
  const { rounds } = paceOf({ rounds: options.rounds }, { rounds: 7, sliceMs: 0 })
  await using cleanup = new AsyncDisposableStack()
  const receiver = await startNode(['bench/webhook-receiver.ts'], 'listening', nodeOptions)
  cleanup.defer(() => stopProcess(receiver.child))
  const origin = `http://127.0.0.1:${receiver.line.port}`

  const open = async (kind: 'hive' | 'bare', databaseUrl?: string): Promise<() => Promise<Sample>> => {
    const folder = await makeFolder()
    cleanup.defer(folder.remove)
    const settings = {
      HIVESYNC_DATA: folder.path,
      HIVESYNC_SECRET: generateSecret(),
      HIVESYNC_EGRESS_ALLOW: '127.0.0.0/8',
      ...(databaseUrl !== undefined && { HIVESYNC_DATABASE_URL: databaseUrl }),
    }
    const args = ['bench/webhook-sender.ts', '--kind', kind, '--origin', origin, '--settings', JSON.stringify(settings)]
    const { child } = await startNode(args, 'ready', nodeOptions)
    cleanup.defer(() => stopProcess(child))
    if (child.stdout === null || child.stdin === null) throw new Error('the sender has no pipes')
    const lines = createInterface({ input: child.stdout })
    const { stdin } = child
    return async () => {
      const answer = once(lines, 'line')
      stdin.write(`${perRound}\n`)
      const { count, cpuMs, elapsedMs } = JSON.parse(String((await answer)[0]))
      return { perCpuSecond: (count * 1000) / cpuMs, perSecond: (count * 1000) / elapsedMs }
    }
  }

  const variants: Record<string, () => Promise<Sample>> = {
    'undici, kept connections': await open('bare'),
    'HiveSync on SQLite': await open('hive'),
  }
  if ((await findPostgres()) !== undefined) {
    const postgres = await createPostgres('p10')
    cleanup.defer(postgres.drop)
    variants['HiveSync on PostgreSQL'] = await open('hive', postgres.url)
  }
  const samples = await measureRounds(rounds, variants)
  const bare = (samples['undici, kept connections'] ?? []).map(({ perCpuSecond }) => perCpuSecond)
  const names = Object.keys(variants)
  return {
    title: `P10: deliveries to 16 endpoints, ${whole(perRound)} events a round, while a seventeenth hangs; ${rounds} rounds`,
    head: ['', 'per CPU-second', 'least–most', '× undici', 'per second'],
    rows: names.map((name) => {
      const rates = (samples[name] ?? []).map(({ perCpuSecond }) => perCpuSecond)
      const byClock = (samples[name] ?? []).map(({ perSecond }) => perSecond)
      return [
        name,
        whole(median(rates)),
        spread(rates, whole),
        medianRatio(rates, bare).toFixed(2),
        whole(median(byClock)),
      ]
    }),
    verdicts: ['HiveSync on SQLite', 'HiveSync on PostgreSQL'].map((name) => {
      const rates = (samples[name] ?? []).map(({ perCpuSecond }) => perCpuSecond)
      const figure = rates.length === 0 ? null : median(rates)
      return {
        claim: 'P10',
        text: `${name}: ${figure === null ? 'no PostgreSQL answers' : whole(figure)} deliveries per CPU-second of the sender (goal: at least ${whole(goal)})`,
        holds: figure === null ? null : figure >= goal,
      }
    }),
    notes: [
      'HiveSync: handed out of the outbox, signed twice (v1, v1a), sent, the attempt and its answer recorded. undici: the same sizes, nothing else.',
      'The CPU time is of the sending process, all threads; that of PostgreSQL is not in it.',
    ],
  }
}

const nodeOptions = { env: plainEnvironment, stdio: ['pipe', 'pipe', 'inherit'] as ['pipe', 'pipe', 'inherit'] }
