import { quantile } from './report.ts'

/** Shares of both samples together above which dudect's crops begin: the less is kept, the less of the machine's noise is in it. */
const crops = [0.5, 0.7, 0.9]

/**
 * Welch's t, how many standard errors lie between two means, of both samples cropped at the same value; of several crops the largest.
 * What interrupts a measurement only ever lengthens it (dudect: Reparaz, Balasch, Verbauwhede 2017, https://eprint.iacr.org/2016/1123).
 */
export function croppedWelchT(left: readonly number[], right: readonly number[]): number {
  const all = [...left, ...right]
  const found = crops.map((share) => {
    const cropAbove = quantile(all, share)
    const [a, b] = [momentsOf(left, cropAbove), momentsOf(right, cropAbove)]
    return (a.mean - b.mean) / Math.sqrt(a.variance / a.count + b.variance / b.count)
  })
  // A crop that leaves one side empty says nothing here; the ranks do.
  return found.filter(Number.isFinite).reduce((most, t) => (Math.abs(t) > Math.abs(most) ? t : most), 0)
}

function momentsOf(values: readonly number[], cropAbove: number): { count: number; mean: number; variance: number } {
  const kept = values.filter((value) => value <= cropAbove)
  const count = kept.length
  const mean = kept.reduce((sum, value) => sum + value, 0) / count
  const variance = kept.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1)
  return { count, mean, variance }
}

/**
 * Mann–Whitney's U as a standard normal z: whether a value of one sample tends to be larger than one of the other, whatever the distributions
 * look like; outliers weigh no more than their rank. The approximation is good from 20 values each.
 */
export function mannWhitneyZ(left: readonly number[], right: readonly number[]): number {
  const all = [
    ...left.map((value) => ({ value, isLeft: true })),
    ...right.map((value) => ({ value, isLeft: false })),
  ].sort((a, b) => a.value - b.value)
  let rankSum = 0
  for (let from = 0, to = 0; from < all.length; from = to) {
    while (to < all.length && all[to]?.value === all[from]?.value) to++
    // Equal values share the mean of their ranks, from + 1 to to.
    const shared = (from + 1 + to) / 2
    rankSum += shared * all.slice(from, to).filter(({ isLeft }) => isLeft).length
  }
  const [n, m] = [left.length, right.length]
  const u = rankSum - (n * (n + 1)) / 2
  return (u - (n * m) / 2) / Math.sqrt((n * m * (n + m + 1)) / 12)
}
