import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from './clock.ts'
import { readWorkerConfig, WorkerConfigError } from './config.ts'
import { findIdentity, identityFolder, StartRefused } from './enrol/identity.ts'
import { systemRandom } from './enrol/random.ts'
import { createKeyRing, requestRotation, rotateKeys } from './enrol/rotate.ts'
import { MirrorBusy, withMirrorLock } from './fetch/mirror-lock.ts'
import { createLogger } from './logger.ts'
import { createTransport } from './report/http-transport.ts'
import { createServerClient } from './report/server-client.ts'
import { createServerTime } from './report/server-time.ts'
import { CallRefused } from './report/signed-call.ts'

interface Outcome {
  exitCode: number
  lines: string[]
}

/**
 * Replaces the key of this machine's worker: at once when none runs, else by leaving the running one a request. Answers what
 * to tell and the exit code: 0, 69 when the server is away or refuses, 78 for a configuration or identity that is refused.
 */
export async function rotateOwnKey(): Promise<Outcome> {
  try {
    const config = readWorkerConfig()
    const identity = await findIdentity(config.dataDir, config.server)
    if (identity === undefined) throw new StartRefused('This worker is not enrolled yet')
    const log = createLogger((line) => void process.stderr.write(line), systemClock.nowMs)
    const transport = createTransport({
      origin: config.server,
      ca: config.caFile === null ? undefined : readFileSync(config.caFile, 'utf8'),
      clock: systemClock,
    })
    const lock = join(identityFolder(config.dataDir), 'lock')
    try {
      const after = await withMirrorLock(lock, new AbortController().signal, async () => {
        const ring = createKeyRing(identity)
        const time = createServerTime({ clock: systemClock, log })
        const parts = { transport, identity: ring, clock: systemClock, time, random: systemRandom, onCutOff: () => {} }
        const client = createServerClient(parts)
        const options = { dataDir: config.dataDir, identity, ring, client, log, onPending: () => {} }
        return await rotateKeys(options)
      })
      const isChanged = after.keys.publicKey !== identity.keys.publicKey
      const line = isChanged
        ? 'The key of this worker has been changed.'
        : 'The server refused the new key; the present one stays.'
      return { exitCode: isChanged ? 0 : 69, lines: [line] }
    } catch (error) {
      if (error instanceof MirrorBusy) {
        await requestRotation(config.dataDir)
        return { exitCode: 0, lines: ['The worker runs; it changes its key at its next poll, within half a minute.'] }
      }
      if (error instanceof CallRefused) return { exitCode: 69, lines: [`The server refused: ${error.message}`] }
      return { exitCode: 69, lines: [`The server does not answer: ${String(error)}`] }
    } finally {
      transport.close()
    }
  } catch (error) {
    if (error instanceof WorkerConfigError) return { exitCode: 78, lines: [...error.problems] }
    if (error instanceof StartRefused) return { exitCode: 78, lines: [error.message] }
    throw error
  }
}
