/** Small enough for the body of any batch, 1 MiB in the contracts. */
const maxBatchBytes = 768 * 1024

/**
 * Calls that are due in the same moment go to the server as one request; one alone goes by itself. Each caller gets the
 * answer to its own item, or the failure of the request, and repeats by itself: what is repeated in the same moment is
 * gathered anew.
 */
export function createGatherer<Item, Answer>(options: {
  most: number
  one: (item: Item) => Promise<Answer>
  /** Answers in the order of the items; an Error for one that was refused. */
  many: (items: Item[]) => Promise<(Answer | Error)[]>
}): (item: Item) => Promise<Answer> {
  interface Waiting extends PromiseWithResolvers<Answer> {
    item: Item
    bytes: number
  }
  let waiting: Waiting[] = []

  function flush(): void {
    const due = waiting
    waiting = []
    for (let begin = 0; begin < due.length; ) {
      let [end, bytes] = [begin, 0]
      while (end < due.length && end - begin < options.most) {
        bytes += due[end]?.bytes ?? 0
        if (bytes > maxBatchBytes && end > begin) break
        end += 1
      }
      void send(due.slice(begin, end))
      begin = end
    }
  }

  async function send(batch: Waiting[]): Promise<void> {
    try {
      const [first] = batch
      if (batch.length === 1 && first !== undefined) return first.resolve(await options.one(first.item))
      const answers = await options.many(batch.map(({ item }) => item))
      batch.forEach((entry, place) => {
        const answer = answers[place]
        if (answer instanceof Error || answer === undefined) entry.reject(answer ?? new Error('no answer to an item'))
        else entry.resolve(answer)
      })
    } catch (error) {
      for (const entry of batch) entry.reject(error)
    }
  }

  return (item) => {
    const settled = Promise.withResolvers<Answer>()
    if (waiting.length === 0) setImmediate(flush)
    waiting.push({ ...settled, item, bytes: Buffer.byteLength(JSON.stringify(item)) })
    return settled.promise
  }
}
