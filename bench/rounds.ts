export type Variants<Name extends string, Sample> = Readonly<Record<Name, () => Promise<Sample>>>

/**
 * Runs every variant once per round, in an order shuffled anew each round, so that no variant always follows the same one and a
 * slow moment of the machine hits all alike. A first round warms up and is not counted.
 */
export async function measureRounds<Name extends string, Sample>(
  rounds: number,
  variants: Variants<Name, Sample>,
): Promise<Record<Name, Sample[]>> {
  const names = Object.keys(variants) as Name[]
  const empty = names.map((name): [Name, Sample[]] => [name, []])
  const samples = Object.fromEntries(empty) as Record<Name, Sample[]>
  for (let round = 0; round <= rounds; round++) {
    for (const name of shuffled(names)) {
      const sample = await variants[name]()
      if (round > 0) samples[name].push(sample)
    }
  }
  return samples
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}

export interface Flow {
  count: number
  elapsedMs: number
}

/** Keeps `inFlight` lives going at once for `forMs`, then lets those under way end; all of them count, and so does that time. */
export async function keepInFlight(inFlight: number, forMs: number, live: () => Promise<void>): Promise<Flow> {
  const startedAt = performance.now()
  let count = 0
  const lane = async (): Promise<void> => {
    while (performance.now() - startedAt < forMs) {
      await live()
      count++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return { count, elapsedMs: performance.now() - startedAt }
}
