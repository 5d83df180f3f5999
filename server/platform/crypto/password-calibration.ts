import { hash } from '@node-rs/argon2'
import { defaultPasswordCost, type PasswordCost } from './password-cost.ts'

const mib = 1024
const maxPasses = 10
const samples = 5
const maxSteps = 8
/** The search aims a little below the target, and is content when it comes this near. */
const aim = 0.95
const closeEnough = 0.9

/**
 * The dearest cost whose hash takes no longer than `targetMs` by `measure`: as much memory as allowed with two passes, then more passes, for memory is what
 * an attacker's hardware has least of (RFC 9106 §4). Never cheaper than the default, however slow the machine.
 */
export async function findPasswordCost(options: {
  targetMs: number
  maxMemoryKib: number
  measure: (cost: PasswordCost) => Promise<number>
}): Promise<{ cost: PasswordCost; ms: number }> {
  const { targetMs, maxMemoryKib, measure } = options
  const least = defaultPasswordCost.memoryCost
  const most = Math.max(least, maxMemoryKib)
  let best = { cost: defaultPasswordCost, ms: await measure(defaultPasswordCost) }
  if (best.ms >= targetMs) return best

  // Time does not grow quite as memory does, and another program may disturb a measurement: hence a few steps, each from the one before.
  let tried = best
  for (let step = 0; step < maxSteps && best.ms < closeEnough * targetMs; step++) {
    const memory = Math.floor((tried.cost.memoryCost * aim * targetMs) / tried.ms / mib) * mib
    const memoryCost = Math.min(most, Math.max(least, memory))
    if (memoryCost === tried.cost.memoryCost) break
    const cost = { ...defaultPasswordCost, memoryCost }
    tried = { cost, ms: await measure(cost) }
    if (tried.ms <= targetMs && memoryCost > best.cost.memoryCost) best = tried
  }
  while (best.cost.memoryCost === most && best.cost.timeCost < maxPasses) {
    const cost = { ...best.cost, timeCost: best.cost.timeCost + 1 }
    const ms = await measure(cost)
    if (ms > targetMs) break
    best = { cost, ms }
  }
  return best
}

/** How long one hash of this cost takes here, in ms: the median of five, alone on the machine as far as that is ours to say. */
export async function measurePasswordCost(cost: PasswordCost): Promise<number> {
  const times: number[] = []
  for (let sample = 0; sample < samples; sample++) {
    const start = performance.now()
    await hash('a passphrase of the usual length', { algorithm: 2, ...cost })
    times.push(performance.now() - start)
  }
  return times.sort((a, b) => a - b)[Math.floor(samples / 2)] ?? 0
}
