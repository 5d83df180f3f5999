// `npm run chaos [-- --seconds N --seed S --database sqlite|postgres --keep]`: kills, stops, fills, delays and winds the clock of real processes under
// load, then checks that nothing was lost, done twice or left over. Exit code 1 when something was, with the seed to try again.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { mayMount, namespaceMark } from './disk.ts'

/** EX_USAGE of sysexits.h. */
const misused = 64
const usualSeconds = 300
const dialects = ['sqlite', 'postgres'] as const

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: String(usualSeconds) },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    database: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
const seed = Number(values.seed)
const wanted = dialects.filter((dialect) => values.database === undefined || values.database === dialect)
if (!(seconds > 0) || !Number.isSafeInteger(seed) || wanted.length === 0) {
  process.stderr.write('--seconds takes a number above 0, --seed a whole number, --database sqlite or postgres.\n')
  process.exitCode = misused
} else if (process.env[namespaceMark] === undefined && mayMount()) {
  process.exitCode = await runInNamespace()
} else {
  // Only here: the process above needs none of it.
  const { runOnEach } = await import('./run-on-each.ts')
  process.exitCode = (await runOnEach(wanted, { seed, seconds, isKept: values.keep })) ? 0 : 1
}

/** The same again where a disk of its own can be mounted, which nobody else sees and which ends with it. */
async function runInNamespace(): Promise<number> {
  const args = [
    '--mount',
    '--propagation',
    'private',
    '--',
    process.execPath,
    ...process.argv.slice(1),
    '--seed',
    String(seed),
  ]
  const env = { ...process.env, [namespaceMark]: '1' }
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'unshare', ...args], { stdio: 'inherit', env })
  const [code] = await once(child, 'exit')
  return code ?? 1
}
