// Asks a server for one read every few milliseconds, from a process that does nothing else.
import { setTimeout as delay } from 'node:timers/promises'
import { type Client, encodeRequest, openClient, readAnswer } from './connection.ts'

export interface ProbeQuestion {
  url: string
  path: string
  bearer: string
  everyMs: number
  forMs: number
}
export interface ProbeAnswer {
  latenciesMs: number[]
}

/**
 * Each read leaves when it is due, on a second connection where the first still waits: a client that waited for late answers would ask less while
 * the server is slow, and hide it (coordinated omission). A timer that fires late is this process's fault, so a read counts from its sending.
 */
async function probe(client: Client, { path, bearer, everyMs, forMs }: ProbeQuestion): Promise<ProbeAnswer> {
  const request = encodeRequest({ method: 'GET', target: path, headers: { authorization: `Bearer ${bearer}` } })
  const read = async (): Promise<number> => {
    const sentAt = performance.now()
    readAnswer(await client.sendEncoded(request), 200)
    return performance.now() - sentAt
  }
  const reads: Promise<number>[] = []
  const startedAt = performance.now()
  for (let due = startedAt; due < startedAt + forMs; due += everyMs) {
    await delay(Math.max(0, due - performance.now()))
    reads.push(read())
  }
  return { latenciesMs: await Promise.all(reads) }
}

process.on('message', async (question: ProbeQuestion) => {
  const client = openClient(question.url)
  try {
    process.send?.(await probe(client, question))
  } finally {
    client.close()
  }
})
process.on('disconnect', () => process.exit())
process.stdout.write(`${JSON.stringify({ event: 'listening' })}\n`)
