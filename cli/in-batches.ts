interface Batch {
  done: number
  refused: readonly { jobId: string; code: string }[]
  remaining: number
}

/** The most that one request acts on. */
const batchSize = 500

/** Sends a bulk request again until nothing is left, or it gets no further. */
export async function inBatches(send: (limit: number) => Promise<Batch>): Promise<Omit<Batch, 'done'>> {
  const refused = new Map<string, { jobId: string; code: string }>()
  for (;;) {
    const batch = await send(batchSize)
    for (const each of batch.refused) refused.set(each.jobId, each)
    if (batch.remaining === 0 || batch.done === 0 || batch.refused.length > 0)
      return { refused: [...refused.values()], remaining: batch.remaining }
  }
}
