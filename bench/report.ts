/** One sentence of quality.md "Speed and cost", judged; `holds` is null where this machine could not measure it. */
export interface Verdict {
  claim: string
  text: string
  holds: boolean | null
}

export interface Report {
  title: string
  head: readonly string[]
  rows: readonly (readonly string[])[]
  verdicts: readonly Verdict[]
  notes: readonly string[]
}

export interface BenchOptions {
  /** Where the server processes write V8 CPU profiles; they run slower while they do. */
  profileDir: string | undefined
  /** Rounds instead of the bench's own number: a few to try it out, more for a verdict one can trust. */
  rounds: number | undefined
  /** How long each variant runs in a round, where the bench runs for a time. */
  sliceMs: number | undefined
}

export interface Pace {
  rounds: number
  sliceMs: number
}

/** What was asked for, and the bench's own pace where nothing was. */
export function paceOf(asked: Partial<Pace>, usual: Pace): Pace {
  return { rounds: asked.rounds ?? usual.rounds, sliceMs: asked.sliceMs ?? usual.sliceMs }
}

/** The middle value, of an even count the mean of the middle two; throws on an empty list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const low = sorted[Math.floor((sorted.length - 1) / 2)]
  const high = sorted[Math.floor(sorted.length / 2)]
  if (low === undefined || high === undefined) throw new RangeError('the median of nothing')
  return (low + high) / 2
}

/** The value that the share of all values does not exceed, by nearest rank; throws on an empty list. */
export function quantile(values: readonly number[], share: number): number {
  const found = [...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1]
  if (found === undefined) throw new RangeError('a quantile of nothing')
  return found
}

/** Median of the ratios within each round: what slows the machine for a moment slows both sides of the same round. */
export function medianRatio(numerators: readonly number[], denominators: readonly number[]): number {
  return median(numerators.map((value, round) => value / (denominators[round] ?? Number.NaN)))
}

export const times = (ratio: number): string => `${ratio.toFixed(2)} ×`
export const whole = (value: number): string => Math.round(value).toLocaleString('en-US')

/** How far the rounds lay apart, as "least–most". */
export function spread(values: readonly number[], format: (value: number) => string): string {
  return `${format(Math.min(...values))}–${format(Math.max(...values))}`
}

/** The report as plain text, columns aligned: the first to the left, figures to the right. */
export function formatReport(report: Report): string {
  const table = [report.head, ...report.rows]
  const widths = report.head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  const lines = table.map((row) =>
    widths
      .map((width, column) =>
        column === 0 ? (row[column] ?? '').padEnd(width) : (row[column] ?? '').padStart(width + 2),
      )
      .join(''),
  )
  const [head = '', ...rows] = lines
  const verdicts = report.verdicts.map(({ claim, text, holds }) => `${claim} ${answerOf(holds)}: ${text}`)
  return [
    report.title,
    '',
    head,
    '-'.repeat(head.length),
    ...rows,
    '',
    ...verdicts,
    ...report.notes.map((note) => `  ${note}`),
  ].join('\n')
}

function answerOf(holds: boolean | null): string {
  if (holds === null) return 'not measured'
  return holds ? 'holds' : 'FAILS'
}
