import { parentPort, Worker } from 'node:worker_threads'

export type Verbs = Readonly<Record<string, (input: never) => unknown>>

interface Call {
  id: number
  verb: string
  input: unknown
}

type Answer = { id: number; value: unknown } | { id: number; error: unknown }

/** A worker thread that does one thing at a time, in the order asked. */
export interface Thread<V extends Verbs> {
  readonly pending: number
  /** False once the thread has ended, by `close` or by a fault; calls are then refused. */
  readonly isAlive: boolean
  /** Rejects with the error of the verb, or when the thread ends before its answer. */
  call<K extends keyof V & string>(verb: K, input: Parameters<V[K]>[0]): Promise<Awaited<ReturnType<V[K]>>>
  /** Resolves when the calls under way are answered and the thread is gone. */
  close(): Promise<void>
}

// A thread that runs out of memory ends alone, and its calls fail; the server goes on.
const maxHeapMiB = 512

/** Starts a thread whose file calls `serveThread` with the verbs `V`. It gets none of the server's environment. */
export function startThread<V extends Verbs>(file: URL): Thread<V> {
  const worker = new Worker(file, { env: {}, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: maxHeapMiB } })
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  const exited = Promise.withResolvers<void>()
  let fault = new Error('the thread has ended')
  let isAlive = true
  let lastId = 0
  worker.on('message', (answer: Answer) => {
    const call = waiting.get(answer.id)
    waiting.delete(answer.id)
    if ('error' in answer) call?.reject(answer.error)
    else call?.resolve(answer.value)
  })
  worker.on('error', (error) => {
    fault = error instanceof Error ? error : fault
    isAlive = false
  })
  worker.on('exit', () => {
    isAlive = false
    for (const call of waiting.values()) call.reject(fault)
    waiting.clear()
    exited.resolve()
  })

  return {
    get pending() {
      return waiting.size
    },
    get isAlive() {
      return isAlive
    },
    call(verb, input) {
      type Value = Awaited<ReturnType<V[typeof verb]>>
      if (!isAlive) return Promise.reject(fault)
      const call = Promise.withResolvers<unknown>()
      const id = ++lastId
      waiting.set(id, call)
      worker.postMessage({ id, verb, input } satisfies Call)
      return call.promise as Promise<Value> // the thread's file serves these very verbs: their types are imported from it
    },
    async close() {
      isAlive = false
      worker.postMessage(null)
      await exited.promise
    },
  }
}

/** The other end: answers the calls of `startThread` one by one, and calls `onClose` before the thread ends. */
export function serveThread(verbs: Verbs, onClose: () => void): void {
  const port = parentPort
  if (port === null) throw new Error('this file runs as a worker thread')
  port.on('message', (call: Call | null) => {
    if (call === null) {
      onClose()
      port.close()
      return
    }
    port.postMessage(answer(verbs, call))
  })
}

function answer(verbs: Verbs, { id, verb, input }: Call): Answer {
  try {
    const run = verbs[verb]
    if (run === undefined) throw new Error(`no verb ${verb}`)
    return { id, value: run(input as never) } // typed where it was asked: Thread.call
  } catch (error) {
    return { id, error }
  }
}
