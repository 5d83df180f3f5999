export interface Batches<Item, Outcome> {
  /** Resolves or rejects with what became of this item, whatever became of those it travelled with. */
  add(item: Item): Promise<Outcome>
}

interface Entry<Item, Outcome> {
  item: Item
  settled: PromiseWithResolvers<Outcome>
}

/** A batch that takes longer than this waits for somebody, and the next goes beside it. */
const patienceMs = 25
const maxLanes = 4

/**
 * Does together what arrives while the last batch is under way: nothing waits for company, and the busier it is the larger the batches. `run` answers each item's
 * outcome in order, an `Error` for one that is refused. When it throws, the items are run again, each alone, so that one bad item fails nobody else.
 */
export function createBatches<Item, Outcome>(
  run: (items: readonly Item[]) => Promise<readonly (Outcome | Error)[]>,
  maxItems: number,
): Batches<Item, Outcome> {
  const waiting: Entry<Item, Outcome>[] = []
  let lanes = 0
  /** Lanes whose batch waits for somebody. */
  let stuck = 0
  let isScheduled = false

  function schedule(): void {
    if (isScheduled || waiting.length === 0 || lanes > stuck || lanes === maxLanes) return
    isScheduled = true
    // What else this turn of the event loop brings comes along.
    setImmediate(() => {
      isScheduled = false
      void runLane()
    })
  }

  async function runLane(): Promise<void> {
    lanes++
    while (waiting.length > 0) {
      let isStuck = false
      const timer = setTimeout(() => {
        isStuck = true
        stuck++
        schedule()
      }, patienceMs)
      await runBatch(waiting.splice(0, maxItems))
      clearTimeout(timer)
      if (!isStuck) continue
      stuck--
      // Another has taken over: one at a time is best when nothing is stuck.
      if (lanes - stuck > 1) break
    }
    lanes--
  }

  async function runBatch(batch: readonly Entry<Item, Outcome>[]): Promise<void> {
    let outcomes: readonly (Outcome | Error)[]
    try {
      outcomes = await run(batch.map(({ item }) => item))
    } catch (error) {
      const [only, ...others] = batch
      if (only !== undefined && others.length === 0) return only.settled.reject(error)
      // Beside each other: where the database is gone, one after the other would wait for it as often as there are items.
      await Promise.all(batch.map((entry) => runBatch([entry])))
      return
    }
    for (const [index, { settled }] of batch.entries()) {
      const outcome = outcomes[index]
      if (outcome instanceof Error) settled.reject(outcome)
      else if (index < outcomes.length) settled.resolve(outcome as Outcome)
      else settled.reject(new Error('a batch left an item without an outcome'))
    }
  }

  return {
    add(item) {
      const settled = Promise.withResolvers<Outcome>()
      waiting.push({ item, settled })
      schedule()
      return settled.promise
    },
  }
}
