// For crash.test.ts: a control plane of its own that receives batches, in this process or in one that will be killed.
import { createBus } from '../platform/bus.ts'
import { systemClock } from '../platform/clock.ts'
import { parseConfig } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { openDatabase } from '../platform/db/db.ts'
import { createLogger } from '../platform/logger.ts'
import { createMailTransport } from '../platform/mail/transport.ts'
import { createMetrics } from '../platform/metrics.ts'
import { createNet } from '../platform/net/net.ts'
import { createRandom } from '../platform/random.ts'
import { openStore } from '../platform/store/open-store.ts'
import { receiveFiles } from './search.ts'

export const name = { projectId: '01900000-0000-7000-8000-000000000001', token: 1 }

export async function openContext(databaseUrl: string, dataDir: string): Promise<Context> {
  const config = { ...parseConfig({ HIVESYNC_DATA: dataDir }), databaseUrl }
  const random = createRandom(systemClock)
  const keyring = openKeyring([generateSecret()])
  return {
    config,
    db: await openDatabase(databaseUrl),
    clock: systemClock,
    random,
    log: createLogger({ write: (line) => void process.stderr.write(line) }),
    keyring,
    bus: createBus(),
    metrics: createMetrics(),
    store: openStore(config.store, { clock: systemClock, random, keyring }),
    mail: createMailTransport(config),
    net: createNet(config.egress, systemClock.now),
  }
}

/** 2,000 files, 2.6 MB: long enough in the making to be killed in between. */
export function batchOf(batch: number) {
  return Array.from({ length: 2000 }, (_, index) => ({
    path: `${batch}/${index}`,
    language: null,
    text: `needle ${batch} ${index}\n`.repeat(80),
  }))
}

if (import.meta.main) {
  const [databaseUrl = '', dataDir = ''] = process.argv.slice(2)
  const ctx = await openContext(databaseUrl, dataDir)
  await receiveFiles(ctx, { ...name, batch: 0, files: batchOf(0) })
  const second = receiveFiles(ctx, { ...name, batch: 1, files: batchOf(1) })
  process.stdout.write('acknowledged\n')
  await second
}
