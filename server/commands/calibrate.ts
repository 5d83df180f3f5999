import { availableParallelism, totalmem } from 'node:os'
import { readConfig } from '../platform/config.ts'
import { passwordPermits } from '../platform/crypto/password.ts'
import { findPasswordCost, measurePasswordCost } from '../platform/crypto/password-calibration.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand } from './operator-command.ts'

/** Nobody minds a quarter of a second once in a session of weeks; more would let a few dozen logins fill the queue of 5 s. */
const defaultTargetMs = 250
const targets = { least: 10, most: 2000 }
/** What a stored hash may ask for without being known (`password-cost.ts`); the budget of 1 GiB then still lets four run. */
const defaultMemoryMib = 256
const memories = { least: 19, most: 1024 }

/** Measures this machine and prints the HIVESYNC_PASSWORD_COST that makes one hash take the target time, with what many of them will take. */
export function calibrateCommand(options: {
  targetMs?: string | undefined
  maxMemoryMib?: string | undefined
}): Promise<OperatorOutcome> {
  return runOperatorCommand(async () => {
    const targetMs = readNumber('--target-ms', options.targetMs, targets, defaultTargetMs)
    const share = Math.max(memories.least, Math.floor(totalmem() / 2 ** 20 / 16))
    const memoryMib = readNumber('--max-memory', options.maxMemoryMib, memories, Math.min(defaultMemoryMib, share))
    const { threadPoolSize } = readConfig()
    const { cost, ms } = await findPasswordCost({
      targetMs,
      maxMemoryKib: memoryMib * 1024,
      measure: measurePasswordCost,
    })
    const permits = passwordPermits(availableParallelism(), threadPoolSize, cost.memoryCost)
    const memory = Math.ceil((permits * cost.memoryCost) / 1024)
    const setting = `m=${cost.memoryCost},t=${cost.timeCost}`
    const perSecond = Number(((permits * 1000) / ms).toFixed(1))
    const slow =
      ms > targetMs ? [`# This machine is slow: the least that is allowed takes longer than ${targetMs} ms.`] : []
    return {
      exitCode: 0,
      json: { HIVESYNC_PASSWORD_COST: setting, ms: Number(ms.toFixed(1)), permits, memoryMib: memory, perSecond },
      lines: [
        `HIVESYNC_PASSWORD_COST=${setting}`,
        ...slow,
        `# One hash takes ${ms.toFixed(0)} ms here and ${Math.ceil(cost.memoryCost / 1024)} MiB.`,
        `# At most ${permits} at once, in ${memory} MiB: about ${perSecond} logins a second. Passwords get it at their next login.`,
      ],
    }
  })
}

function readNumber(name: string, text: string | undefined, range: { least: number; most: number }, fallback: number) {
  if (text === undefined) return fallback
  if (/^\d{1,5}$/.test(text) && Number(text) >= range.least && Number(text) <= range.most) return Number(text)
  throw new CommandRefused(`${name} must be a whole number from ${range.least} to ${range.most}`)
}
