// Several light workers in one process, which can be killed and stopped as a whole: arguments are a file with a WorkerProcess, and which of its lives this is.
import { appendFileSync, readFileSync } from 'node:fs'
import { openHttp } from './client.ts'
import { runLightWorker, type WorkerIdentity } from './light-worker.ts'
import { createRandom } from './random.ts'

export interface WorkerProcess {
  url: string
  seed: number
  slots: number
  identities: WorkerIdentity[]
  /** Gets a line of JSON for each accepted completion. */
  acceptedFile: string
}

const timeoutMs = 60_000 // on this process's clock

const { url, seed, slots, identities, acceptedFile } = JSON.parse(
  readFileSync(process.argv[2] ?? '', 'utf8'),
) as WorkerProcess
// Another life, other draws: else a worker killed for what it drew would draw it again.
const random = createRandom(seed).fork(`life ${process.argv[3]}`)
let isCalm = false
process.on('message', () => {
  isCalm = true
})
process.on('disconnect', () => process.exit())
const http = openHttp(url, timeoutMs)
for (const identity of identities) {
  void runLightWorker({
    ...{ http, identity, slots, random: random.fork(identity.workerId), isCalm: () => isCalm },
    // Written before the next act, in one write: what was accepted is known also after a kill.
    onAccepted: (accepted) => appendFileSync(acceptedFile, `${JSON.stringify(accepted)}\n`),
  })
}
process.stdout.write(`${JSON.stringify({ event: 'working' })}\n`)
