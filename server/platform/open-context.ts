import { mkdirSync } from 'node:fs'
import { createBus } from './bus.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import type { Context } from './context.ts'
import { openKeyring } from './crypto/keyring.ts'
import { openDatabase } from './db/db.ts'
import { readLocalSecret } from './local-secret.ts'
import { createMailTransport } from './mail/transport.ts'
import { createMetrics } from './metrics.ts'
import { bringUpToDate } from './migrate-database.ts'
import { createNet } from './net/net.ts'
import { createRandom } from './random.ts'
import { openStore } from './store/open-store.ts'
import type { Tracer } from './tracing.ts'

/** Makes the data folder, opens and migrates the database; what an operator's command and the server alike work with. Whoever opens it closes `db`. */
export async function openContext(config: Config, log: Context['log']): Promise<Context> {
  // Others on the machine may pass through (the worker's own user keeps its folder below), but not look in.
  mkdirSync(config.dataDir, { recursive: true, mode: 0o711 })
  const clock = systemClock
  const random = createRandom(clock)
  const mail = createMailTransport(config)
  const secrets = config.secrets.length > 0 ? config.secrets : [readLocalSecret(config.dataDir)]
  const db = await openDatabase(config.databaseUrl, {
    random: random.fraction,
    log: { warn: ({ code, message }) => log.warn({ event: 'database_fault', code, reason: message }) },
  })
  await bringUpToDate(config, db, clock.now)
  const keyring = openKeyring(secrets)
  const store = openStore(config.store, { clock, random, keyring })
  const metrics = createMetrics()
  return {
    config,
    db,
    clock,
    random,
    log,
    keyring,
    bus: createBus(),
    metrics,
    tracer: await openTracer(config, { clock, random, metrics }),
    store,
    mail,
    net: createNet(config.egress, clock.now),
  }
}

async function openTracer(
  config: Config,
  parts: Pick<Context, 'clock' | 'random' | 'metrics'>,
): Promise<Tracer | undefined> {
  const { tracing } = config.observability
  if (tracing === null) return undefined
  // Loaded only here: whoever collects no traces pays nothing for them.
  const { createTracer } = await import('./tracing.ts')
  return createTracer(tracing, { ...parts, dnsServers: config.egress.dnsServers })
}
