export interface Contender<Item> {
  teamId: string
  /** Virtual time already used; the smallest goes next. */
  pass: number
  weight: number
  /** How many more jobs the team may run. */
  free: number
  /** Its best candidates, best first. */
  items: readonly Item[]
}

export interface Share<Item> {
  teamId: string
  pass: number
  taken: Item[]
}

/** One slot of a team of weight 1 costs this much virtual time. */
const stride = 1000

export const costOf = (weight: number): number => Math.max(1, Math.round(stride / weight))

/**
 * Hands out `slots` one by one to the team with the least virtual time (stride scheduling, Waldspurger 1995): over any run
 * of slots each waiting team gets its weighted share, whatever another team has queued. Teams that get nothing are left out.
 */
export function allocate<Item>(contenders: readonly Contender<Item>[], slots: number): Share<Item>[] {
  const shares = contenders.map((contender) => ({ contender, pass: contender.pass, taken: [] as Item[] }))
  for (let slot = 0; slot < slots; slot++) {
    let next: (typeof shares)[number] | undefined
    for (const share of shares) {
      const { contender, taken } = share
      const canTake = taken.length < contender.free && taken.length < contender.items.length
      if (canTake && (next === undefined || share.pass < next.pass)) next = share
    }
    const item = next?.contender.items[next.taken.length]
    if (next === undefined || item === undefined) break
    next.taken.push(item)
    next.pass += costOf(next.contender.weight)
  }
  return shares
    .filter((share) => share.taken.length > 0)
    .map(({ contender, pass, taken }) => ({ teamId: contender.teamId, pass, taken }))
}
