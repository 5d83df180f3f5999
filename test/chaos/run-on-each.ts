import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runChaos } from './chaos.ts'
import { namespaceMark } from './disk.ts'
import type { Struck } from './faults.ts'
import type { Dialect } from './installation.ts'
import { findPostgresPrograms } from './postgres.ts'
import { formatOutcome, isViolated } from './report.ts'

interface Asked {
  seed: number
  seconds: number
  /** Whether the run's folder stays also when all went well. */
  isKept: boolean
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** One run after another; false when an invariant was violated on one of them, whose folder with all logs stays. */
export async function runOnEach(dialects: readonly Dialect[], asked: Asked): Promise<boolean> {
  let isWell = true
  for (const dialect of dialects) {
    if (
      dialect === 'postgres' &&
      findPostgresPrograms() === undefined &&
      process.env.HIVESYNC_TEST_REQUIRE_SERVICES !== '1'
    )
      say('postgres: skipped, its programs are not installed in /usr/lib/postgresql')
    else if (!(await runOne(dialect, asked))) isWell = false
  }
  return isWell
}

async function runOne(dialect: Dialect, { seed, seconds, isKept }: Asked): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-chaos-'))
  say(`${dialect}, seed ${seed}, ${seconds} s of faults`)
  if (process.env[namespaceMark] === undefined) say('  disk full: skipped, only root may mount a disk of a size')
  let isWell = false
  try {
    const outcome = await runChaos({
      dialect,
      seed,
      seconds,
      folder,
      onStruck: tell,
      onPhase: (phase) => say(`  ${phase}`),
    })
    say(`\n${formatOutcome(`${dialect}, seed ${seed}`, outcome)}\n`)
    isWell = !isViolated(outcome)
    return isWell
  } finally {
    if (!isWell)
      say(`  again: npm run chaos -- --seed ${seed} --seconds ${seconds} --database ${dialect}\n  logs: ${folder}`)
    else if (!isKept) rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

function tell({ atMs, fault, what, lastsMs }: Struck): void {
  const duration = lastsMs > 0 ? `, for ${lastsMs} ms` : ''
  say(`  ${(atMs / 1000).toFixed(1).padStart(6)} s  ${fault}: ${what}${duration}`)
}
