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
import { type ContractServer, openContractServer, testId } from './contract-server.ts'

export interface Enrolled {
  server: ContractServer
  client: ServerClient
  log: Logger
  /** Every event logged so far. */
  events: { event: string; [field: string]: unknown }[]
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
  const client = createServerClient({
    ...{ transport, identity: { workerId, key: importPrivateKey(keys) }, random: systemRandom },
    clock: options.clock ?? systemClock,
    onRevoked: () => {
      revoked = true
    },
  })
  const events: Enrolled['events'] = []
  const log = createLogger((line) => void events.push(JSON.parse(line)), systemClock.nowMs)
  test.after(async () => {
    transport.close()
    if (options.server === undefined) await server.close()
  })
  return { server, client, log, events, revoked: () => revoked }
}

/** A folder that sandboxed users can pass, removed with the test. */
export async function makeTestFolder(test: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-worker-test-'))
  await chmod(folder, 0o711)
  test.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}
