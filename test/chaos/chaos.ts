import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type HttpClient, openHttp } from './client.ts'
import { type FaultName, faultNames, type Scene, type Struck, strike } from './faults.ts'
import { type Dialect, type Installation, startInstallation, type Timed } from './installation.ts'
import { type Evidence, invariants } from './invariants.ts'
import { startLoad } from './load.ts'
import { type FaultyProxy, startProxy, weathers } from './proxy.ts'
import { createRandom, type Random } from './random.ts'
import { readAccepted, readRecords } from './records.ts'
import { openRows, type Rows } from './rows.ts'
import { compareWithApi } from './served.ts'
import { createTenants, type Tenants } from './tenants.ts'
import { findDrift, watchCounters } from './watch.ts'

export interface ChaosOptions {
  dialect: Dialect
  seed: number
  /** How long faults strike. */
  seconds: number
  /** A new folder, for this run alone. */
  folder: string
  onStruck(struck: Struck): void
  /** Told what the run does next. */
  onPhase(phase: string): void
}

export interface Outcome {
  faults: Record<FaultName, number>
  network: FaultyProxy['counts']
  load: Evidence['ledger']['counts']
  states: Record<string, number>
  completions: number
  looks: number
  /** By invariant; empty where it held. */
  violations: Record<string, readonly string[]>
  /** From the last fault until nothing was left to do. */
  recoveredInMs: number
}

const workerProcesses = 3
const workersEach = 6
const slots = 4
const lanes = 16
/** Longer on a run that found a great backlog: sixty leases in a row. */
const recoverWithinMs = 180_000
const meanBetweenMs = 800
/** Work under way before the first fault. */
const calmMs = 500
/** Where every answer counts, and where clients give up on a server that hangs. */
const patienceMs = 60_000
const hasteMs = 4000

/**
 * Runs servers, workers and clients as processes of their own under a seeded schedule of faults, lets them recover without help, and judges what is
 * left. Throws only when the run itself cannot be made; what the product did wrong is in the outcome.
 */
export async function runChaos(options: ChaosOptions): Promise<Outcome> {
  const { seed, seconds, onStruck, onPhase } = options
  await using cleanup = new AsyncDisposableStack()
  const random = createRandom(seed)
  onPhase('starts servers and workers')
  const stage = await setStage(cleanup, options, random)
  const { scene, rows, tenants, patient, hasty } = stage

  onPhase('strikes')
  scene.installation.clocks.hurry()
  const load = startLoad(hasty, tenants, lanes, random.fork('load'))
  const watch = watchCounters(rows)
  const faults = Object.fromEntries(faultNames.map((name) => [name, 0])) as Outcome['faults']
  scene.proxy.setWeather(weathers.usual)
  await delay(calmMs)
  await strike(scene, { forMs: seconds * 1000, everyMs: meanBetweenMs, random: random.fork('faults') }, (struck) => {
    faults[struck.fault]++
    onStruck(struck)
  })
  const overAt = performance.now()
  scene.proxy.setWeather(weathers.clear)
  onPhase('lets the clients end')
  await load.stop()
  onPhase('recovers')
  const stuck = await recover(scene, rows)
  const recoveredInMs = Math.round(performance.now() - overAt)
  await watch.stop()

  onPhase('judges')
  const records = await readRecords(rows)
  const evidence: Evidence = { records, ledger: load.ledger, accepted: readAccepted(stage.acceptedFiles) }
  return {
    ...{ faults, network: scene.proxy.counts, load: load.ledger.counts, looks: watch.looks, recoveredInMs },
    states: countStates(records),
    completions: evidence.accepted.length,
    violations: {
      ...Object.fromEntries(Object.entries(invariants).map(([name, invariant]) => [name, invariant(evidence)])),
      'no counter differs from what it counts, no limit is exceeded, at any moment': watch.violations,
      'nor in the end': await findDrift(rows),
      'the API shows what the database holds': await compareWithApi(patient, tenants, records),
      'nothing waits or runs for ever': stuck,
      'no server and no worker ends by itself': crashesOf(scene),
      'every refusal is a problem document': hasty.unclear,
    },
  }
}

interface Stage {
  scene: Scene
  rows: Rows
  tenants: Tenants
  patient: HttpClient
  hasty: HttpClient
  acceptedFiles: string[]
}

async function setStage(
  cleanup: AsyncDisposableStack,
  { dialect, seed, folder }: ChaosOptions,
  random: Random,
): Promise<Stage> {
  chmodSync(folder, 0o711) // a real worker's jobs run as other users, who must pass
  const installation = await startInstallation(dialect, folder)
  cleanup.defer(() => endInstallation(installation))
  const rows = openRows(installation.databaseUrl)
  cleanup.defer(() => rows.close())
  const proxy = await startProxy(installation.origins, random.fork('network'))
  cleanup.defer(() => proxy.close())
  const patient = openHttp(proxy.url, patienceMs)
  cleanup.defer(() => patient.close())
  const hasty = openHttp(proxy.url, hasteMs)
  cleanup.defer(() => hasty.close())
  const tenants = await createTenants(patient, rows, { light: workerProcesses * workersEach, real: 1 })
  const { acceptedFiles, ...workers } = await startWorkers(installation, proxy.url, tenants, { folder, seed })
  cleanup.defer(async () => {
    for (const { process } of [...workers.lightWorkers, ...workers.realWorkers]) await process.end()
  })
  return { scene: { installation, proxy, ...workers }, rows, tenants, patient, hasty, acceptedFiles }
}

const crashesOf = ({ installation, lightWorkers, realWorkers }: Scene): string[] =>
  [...installation.servers, ...lightWorkers, ...realWorkers].flatMap(({ process }) => process.crashes)

async function endInstallation({ servers, cluster, disk }: Installation): Promise<void> {
  for (const { process } of servers) await process.end()
  await cluster?.server.end()
  disk.remove()
}

/** The light workers in several processes, each to be killed as a whole, and one real worker with its sandbox. */
async function startWorkers(
  installation: Installation,
  url: string,
  { identities, enrolmentTokens }: Tenants,
  { folder, seed }: { folder: string; seed: number },
): Promise<Pick<Scene, 'lightWorkers' | 'realWorkers'> & { acceptedFiles: string[] }> {
  const acceptedFiles: string[] = []
  const lightWorkers: Timed[] = []
  for (let number = 0; number < workerProcesses; number++) {
    const acceptedFile = join(folder, `accepted-${number}.jsonl`)
    writeFileSync(acceptedFile, '')
    acceptedFiles.push(acceptedFile)
    const own = identities.slice(number * workersEach, (number + 1) * workersEach)
    lightWorkers.push(
      installation.startWorkers(`workers-${number}`, {
        url,
        seed: seed + number,
        slots,
        identities: own,
        acceptedFile,
      }),
    )
  }
  const realWorkers = enrolmentTokens.map((token, number) =>
    installation.startRealWorker(`worker-${number}`, url, token),
  )
  for (const { process } of [...lightWorkers, ...realWorkers]) await process.untilReady()
  return { lightWorkers, realWorkers, acceptedFiles }
}

/** Waits until nothing waits or runs; answers what is still there when the patience is over. */
async function recover({ installation, lightWorkers }: Scene, rows: Rows): Promise<string[]> {
  const deadline = performance.now() + recoverWithinMs
  await installation.cluster?.untilAnswering()
  for (const { process } of [...installation.servers, ...lightWorkers]) await process.untilReady()
  for (const { process } of lightWorkers) process.child?.send({ event: 'calm' })
  for (;;) {
    const left = await rows.read(
      `select job_id, 'waits' as what from job_queue union all select job_id, 'is leased, ' || phase as what from job_leases`,
    )
    if (left.length === 0) return []
    if (performance.now() > deadline) return left.map((row) => `${row.job_id} ${row.what}`)
    await delay(100)
  }
}

function countStates(records: Evidence['records']): Record<string, number> {
  const states: Record<string, number> = {}
  for (const { state } of records.values()) states[state] = (states[state] ?? 0) + 1
  return states
}
