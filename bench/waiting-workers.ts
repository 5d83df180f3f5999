// Thousands of workers that wait for work, each on a connection of its own; argument 1 is a file with IdleSettings. Tells its parent of the job that
// one of them was given, and ends the job.
import { readFileSync } from 'node:fs'
import { type Claim, claimJobs, completeLease, startLease } from '@hivesync/contracts/worker-protocol.ts'
import { importPrivateKey } from '@hivesync/protocol/keys.ts'
import { openClient } from './connection.ts'
import type { IdleSettings } from './idle-workers.ts'
import { reportOf, signedCalls } from './remote-worker.ts'

/** As the agent asks: half a minute is the longest that the protocol knows. */
const waitSeconds = 30
/** Connections begun together: a listening socket's queue has an end. */
const atOnce = 200

const { url, workers } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as IdleSettings
// A quarter of them on each of these addresses of this machine: the ports of one would soon be used up.
const sources = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']
const report = reportOf(1)

async function work(index: number, polled: () => void): Promise<never> {
  const { workerId, keys } = workers[index] ?? { workerId: '', keys: { publicKey: '', privateKey: '' } }
  const client = openClient(url, { localAddress: sources[index % sources.length], timeoutMs: 2 * waitSeconds * 1000 })
  const call = signedCalls(client, workerId, importPrivateKey(keys))
  // The first answers at once, and shows that it was heard; from then on it waits.
  for (let wait = 0; ; wait = waitSeconds) {
    const body = { report, freeSlots: 1, waitSeconds: wait }
    const { jobs } = await call<{ jobs: Claim[] }>(claimJobs.path, claimJobs.status, body)
    polled()
    for (const { token, jobId } of jobs) {
      process.send?.({ jobId })
      const lease = { token: String(token) }
      await call(startLease.path, startLease.status, undefined, lease)
      await call(completeLease.path, completeLease.status, { outcome: 'succeeded', result: {} }, lease)
    }
  }
}

process.on('disconnect', () => process.exit())
process.on('message', () => {}) // only to be kept open: what there is to tell is told when it happens
for (let from = 0; from < workers.length; from += atOnce) {
  const part = workers.slice(from, from + atOnce).map((_, index) => {
    const polled = Promise.withResolvers<void>()
    work(from + index, polled.resolve).catch((error: unknown) => {
      process.stderr.write(`a waiting worker failed: ${error}\n`)
      process.exit(1)
    })
    return polled.promise
  })
  await Promise.all(part)
}
process.stdout.write(`${JSON.stringify({ event: 'waiting' })}\n`)
