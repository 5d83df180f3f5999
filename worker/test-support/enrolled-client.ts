import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { generateEncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { type Clock, systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { createLogger, type Logger } from '../logger.ts'
import { createTransport } from '../report/http-transport.ts'
import { createServerClient, type ServerClient } from '../report/server-client.ts'
import { createServerTime } from '../report/server-time.ts'
import { testId } from './contract-request.ts'
import { type ContractServer, openContractServer } from './contract-server.ts'

export interface Enrolled {
  server: ContractServer
  client: ServerClient
  log: Logger
  /** Every event logged so far. */
  events: { event: string; [field: string]: unknown }[]
  /** Resolves once this event has been logged. */
  logged(event: string): Promise<void>
  revoked: () => boolean
}

/** A contract server with one worker enrolled and its client; both end with the test. */
export async function openEnrolled(
  test: TestContext,
  options: { clock?: Clock; server?: ContractServer; offsetMs?: number } = {},
): Promise<Enrolled> {
  const server = options.server ?? (await openContractServer({ offsetMs: options.offsetMs ?? 0 }))
  const keys = generateEncodedKeyPair()
  const workerId = testId(901)
  server.workers.set(workerId, { publicKey: keys.publicKey, name: 'test' })
  const transport = createTransport({ origin: server.origin, clock: systemClock })
  let revoked = false
  const events: Enrolled['events'] = []
  const watchers = new Set<() => void>()
  const log = createLogger((line) => {
    events.push(JSON.parse(line))
    for (const look of [...watchers]) look()
  }, systemClock.nowMs)
  const clock = options.clock ?? systemClock
  const client = createServerClient({
    ...{ transport, identity: { workerId, key: importPrivateKey(keys) }, random: systemRandom, clock },
    time: createServerTime({ clock, log }),
    onCutOff: () => {
      revoked = true
    },
  })
  const logged = (event: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!events.some((line) => line.event === event)) return
        watchers.delete(look)
        resolve()
      }
      watchers.add(look)
      look()
    })
  test.after(async () => {
    transport.close()
    if (options.server === undefined) await server.close()
  })
  return { server, client, log, events, logged, revoked: () => revoked }
}

/** A folder that sandboxed users can pass, removed with the test. */
export async function makeTestFolder(test: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-worker-test-'))
  await chmod(folder, 0o711)
  test.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}
