// `npm run bench [-- P1 P3 … --check --rounds=N --seconds=N --profile=FOLDER]`: side-by-side measurements, one file per claim of the quality goals.
import { availableParallelism, cpus } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { findPostgres } from './databases.ts'
import { type BenchOptions, formatReport, type Report } from './report.ts'

type Measure = (options: BenchOptions) => Promise<Report>

const benches: Readonly<Record<string, () => Promise<{ measure: Measure }>>> = {
  C10: () => import('./c10-autoscale.ts'),
  P1: () => import('./p1-authenticated-read.ts'),
  P3: () => import('./p3-job-life.ts'),
  P4: () => import('./p4-hand-over.ts'),
  P5: () => import('./p5-claim.ts'),
  P6: () => import('./p6-sandbox.ts'),
  P7: () => import('./p7-login.ts'),
  P8: () => import('./p8-rate-limits.ts'),
  P9: () => import('./p9-audit.ts'),
  P10: () => import('./p10-webhooks.ts'),
  P11: () => import('./p11-start.ts'),
  T1: () => import('./enumeration-timing.ts'),
  W1: () => import('./idle-workers.ts'),
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    check: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    profile: { type: 'string' },
  },
})
const unknown = positionals.filter((name) => !(name in benches))
const options: BenchOptions = {
  profileDir: values.profile === undefined ? undefined : resolve(values.profile),
  rounds: values.rounds === undefined ? undefined : Number(values.rounds),
  sliceMs: values.seconds === undefined ? undefined : Math.round(Number(values.seconds) * 1000),
}
if (!isCount(options.rounds) || !isCount(options.sliceMs)) {
  process.stderr.write(
    '--rounds takes a whole number from 1, --seconds a number of seconds of at least a thousandth.\n',
  )
  process.exitCode = 64
} else if (unknown.length > 0) {
  process.stderr.write(`There is no bench ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}.\n`)
  process.exitCode = 64
} else {
  process.exitCode = await run(positionals.length > 0 ? positionals : Object.keys(benches))
}

function isCount(value: number | undefined): boolean {
  return value === undefined || (Number.isInteger(value) && value >= 1)
}

/** 1 with `--check` when a claim fails. What could not be measured here is said, and fails nothing. */
async function run(names: readonly string[]): Promise<number> {
  const startedAt = performance.now()
  process.stdout.write(`${await describeMachine()}\n`)
  const failed: string[] = []
  for (const name of names) {
    const bench = await benches[name]?.()
    if (bench === undefined) continue
    const report = await bench.measure(options)
    process.stdout.write(`\n${formatReport(report)}\n`)
    for (const { claim, text, holds } of report.verdicts) if (holds === false) failed.push(`${claim}: ${text}`)
  }
  process.stdout.write(`\n${Math.round((performance.now() - startedAt) / 1000)} s; ${summaryOf(failed)}\n`)
  return values.check && failed.length > 0 ? 1 : 0
}

function summaryOf(failed: readonly string[]): string {
  return failed.length === 0 ? 'no claim that could be measured fails.' : `claims that fail: ${failed.length}.`
}

async function describeMachine(): Promise<string> {
  const postgres = await findPostgres()
  const second =
    postgres === undefined
      ? 'no PostgreSQL answers'
      : `PostgreSQL ${postgres.version} (fsync ${postgres.fsync}, synchronous_commit ${postgres.synchronousCommit})`
  const cores = `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`
  return `${cores}, Node ${process.version}, SQLite ${process.versions.sqlite}, ${second}. Ratios count; absolute figures belong to this machine.`
}
