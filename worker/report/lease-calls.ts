import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import type { completeLease } from '@hivesync/contracts/worker-protocol.ts'
import { createGatherer } from './gather.ts'
import type { ServerClient } from './server-client.ts'
import { CallRefused } from './signed-call.ts'

type Completion = BodyOf<typeof completeLease>

/** The server brings the index of an ingest to its disk before it answers. */
const completeTimeoutMs = 300_000
/** contracts/worker-protocol.ts. */
const mostStarts = 1024
const mostCompletions = 64

/**
 * The client, with starts and completions of the same moment gathered into one request each. A batch goes on when one of
 * its callers gives up: that caller alone sees its signal's reason.
 */
export function gatherLeaseCalls(client: ServerClient, closing: AbortSignal): ServerClient {
  const start = createGatherer<number, true>({
    most: mostStarts,
    one: async (token) => {
      await client.startLease(token, { signal: closing })
      return true
    },
    many: async (tokens) => {
      const answers = await client.startLeases(tokens, { signal: closing })
      return answers.map(({ verdict }) => verdict === 'ok' || new CallRefused('startLeases', 409, 'lease_lost', 0))
    },
  })
  const call = { signal: closing, timeoutMs: completeTimeoutMs }
  const complete = createGatherer<{ token: number } & Completion, { jobId: string; state: string }>({
    most: mostCompletions,
    one: ({ token, ...completion }) => client.completeLease(token, completion, call),
    many: async (completions) => {
      const answers = await client.completeLeases(completions, call)
      return answers.map((answer) => {
        if (!('code' in answer)) return answer
        // A fault of the server's own passes; a refusal stays one.
        return new CallRefused('completeLeases', answer.code === 'internal' ? 500 : 409, answer.code, 0)
      })
    },
  })
  return {
    ...client,
    async startLease(token, options = {}) {
      await unlessAborted(start(token), options.signal)
    },
    completeLease: (token, completion, options = {}) =>
      unlessAborted(complete({ token, ...completion }), options.signal),
  }
}

async function unlessAborted<T>(call: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await call
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([call, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
