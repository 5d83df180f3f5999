import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { findPostgresPrograms } from './postgres.ts'

/** Twenty seconds of faults over both databases; `npm run chaos` goes on for longer. */
const secondsEach = 10
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
const noPostgres = findPostgresPrograms() === undefined && !isRequired

/** A process of its own, as `npm run chaos` is: it needs a mount namespace, and what is left of it must be nothing. */
async function runChaos(database: 'sqlite' | 'postgres'): Promise<void> {
  const run = [process.execPath, join(import.meta.dirname, 'run.ts')]
  const args = ['--pdeathsig', 'KILL', '--', ...run, '--seconds', String(secondsEach), '--database', database]
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('NODE_TEST')))
  const child = spawn('setpriv', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => {
      said += text
    })
  const [code] = await once(child, 'close')
  assert.equal(code, 0, said)
}

describe('whatever is killed, stopped, filled, lost on the way or set to another time, every accepted job ends once', () => {
  test('on sqlite', () => runChaos('sqlite'))
  test('on postgres', { skip: noPostgres && 'its programs are not installed in /usr/lib/postgresql' }, () =>
    runChaos('postgres'),
  )
})
