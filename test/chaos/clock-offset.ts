// Preloaded into the processes of a chaos run (`node --import`): its time is what the file HIVESYNC_TEST_CLOCK says, read anew every 20 ms. It can
// run faster, timers included, so that a lease of 30 s runs out in three, and it can jump, as a clock does that is set. No line of the product
// knows of it.
import { readFileSync } from 'node:fs'

/** Two numbers and a rate: the time is `virtualMs` at the real time `realMs`, and runs `rate` times as fast since. */
export interface ClockSetting {
  realMs: number
  virtualMs: number
  rate: number
}

const lookEveryMs = 20
const real = {
  now: Date.now,
  monotonic: performance.now.bind(performance),
  timeout: globalThis.setTimeout,
  interval: globalThis.setInterval,
}
const file = process.env.HIVESYNC_TEST_CLOCK ?? ''
let text = ''
let setting: ClockSetting = { realMs: 0, virtualMs: 0, rate: 1 }
/** What a clock that is set does not move, and where it stood when the rate was last changed. */
let monotonic = { realMs: 0, virtualMs: 0 }

const now = (): number => Math.round(setting.virtualMs + (real.now() - setting.realMs) * setting.rate)
const monotonicNow = (): number => monotonic.virtualMs + (real.monotonic() - monotonic.realMs) * setting.rate

function look(): void {
  const found = readFileSync(file, 'utf8')
  if (found === text) return
  text = found
  monotonic = { virtualMs: monotonicNow(), realMs: real.monotonic() }
  setting = JSON.parse(found) as ClockSetting
}
look()
real.interval(look, lookEveryMs).unref()

Date.now = now
globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
})
performance.now = monotonicNow

const faster = (ms: unknown): number | undefined => (ms === undefined ? undefined : Number(ms) / setting.rate)
globalThis.setTimeout = Object.assign(
  (callback: () => void, ms?: number, ...args: []) => real.timeout(callback, faster(ms), ...args),
  real.timeout,
)
globalThis.setInterval = Object.assign(
  (callback: () => void, ms?: number, ...args: []) => real.interval(callback, faster(ms), ...args),
  real.interval,
)
