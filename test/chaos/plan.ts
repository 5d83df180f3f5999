import type { Random } from './random.ts'

/** What a light worker does with a job. */
export interface Plan {
  manner: 'works' | 'never starts' | 'comes back late' | 'completes twice' | 'completes in two ways'
  /** On the worker's clock. */
  workMs: number
  outcome: 'succeeded' | 'failed' | 'returned'
  isInfrastructure: boolean
  /** Whether it reports progress and writes a log. */
  speaks: boolean
}

const shortMs = 1500
/** Longer than a lease: such a job ends well only when its worker is heard all the while. */
const longMs = { from: 10_000, to: 45_000 }
const silentMs = 45_000

/** Draws a plan; a calm one always ends at once. */
export function drawPlan(random: Random, isCalm: boolean): Plan {
  if (isCalm) return { manner: 'works', workMs: 0, outcome: 'succeeded', isInfrastructure: false, speaks: false }
  const drawn = random.fraction()
  const manner =
    drawn < 0.02
      ? 'never starts'
      : drawn < 0.04
        ? 'comes back late'
        : drawn < 0.09
          ? 'completes twice'
          : drawn < 0.13
            ? 'completes in two ways'
            : 'works'
  const isLong = random.chance(0.02)
  const workMs = isLong ? random.between(longMs.from, longMs.to) : random.below(shortMs)
  const end = random.fraction()
  return {
    manner,
    workMs: manner === 'comes back late' ? silentMs : workMs,
    outcome: end < 0.8 ? 'succeeded' : end < 0.97 ? 'failed' : 'returned',
    isInfrastructure: random.chance(0.3),
    speaks: random.chance(0.2),
  }
}
