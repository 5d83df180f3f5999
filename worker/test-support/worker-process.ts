import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

const main = new URL('../main.ts', import.meta.url).href
const program = `import { runWorker } from ${JSON.stringify(main)}\nprocess.exitCode = await runWorker()`

/** As `npm start` gives it to its worker. */
const systemPath = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'

export interface WorkerProcess {
  child: ChildProcess
  events: Record<string, unknown>[]
  logged(event: string): Promise<Record<string, unknown>>
  /** The exit code, or the signal that ended it. */
  ended: Promise<number | string>
  complaints: () => string
}

/** A worker as its own process, as it is deployed. */
export function startWorker(t: TestContext, env: Record<string, string>): WorkerProcess {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { PATH: systemPath, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const events: Record<string, unknown>[] = []
  let complaints = ''
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString()
  })
  const watchers = new Set<() => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line))
    for (const look of [...watchers]) look()
  })
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal)
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const logged = (event: string) =>
    new Promise<Record<string, unknown>>((resolve) => {
      const look = () => {
        const found = events.find((line) => line.event === event)
        if (found === undefined) return
        watchers.delete(look)
        resolve(found)
      }
      watchers.add(look)
      look()
    })
  return { child, events, logged, ended, complaints: () => complaints }
}
