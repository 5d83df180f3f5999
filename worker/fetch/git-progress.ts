/** git's own progress phases during a fetch and the share of the whole each one is shown as. */
const stages: readonly { pattern: RegExp; from: number; to: number; label: string }[] = [
  {
    pattern: /^remote: (?:Enumerating|Counting) objects: +(\d{1,3})%/,
    from: 0,
    to: 5,
    label: 'Server is counting objects',
  },
  { pattern: /^remote: Compressing objects: +(\d{1,3})%/, from: 5, to: 15, label: 'Server is compressing objects' },
  { pattern: /^Receiving objects: +(\d{1,3})%/, from: 15, to: 85, label: 'Receiving objects' },
  { pattern: /^Resolving deltas: +(\d{1,3})%/, from: 85, to: 99, label: 'Resolving deltas' },
]

/** Longer than any progress line of git; what exceeds it is a server's chatter and dropped. */
const maxLineLength = 1024

/**
 * Reads `git fetch --progress` from stderr chunks and reports a percent that never goes back. The label is one of our own
 * words: what a server prints is not shown to anybody.
 */
export function followGitProgress(report: (percent: number, label: string) => void): (chunk: Buffer) => void {
  let pending = ''
  let reported = -1
  return (chunk) => {
    const lines = (pending + chunk.toString('latin1')).split(/[\r\n]/)
    pending = (lines.pop() ?? '').slice(0, maxLineLength)
    for (const line of lines) {
      const found = readStage(line)
      if (!found || found.percent <= reported) continue
      reported = found.percent
      report(found.percent, found.label)
    }
  }
}

function readStage(line: string): { percent: number; label: string } | undefined {
  for (const stage of stages) {
    const digits = stage.pattern.exec(line)?.[1]
    if (digits === undefined) continue
    const share = Math.min(Number(digits), 100) / 100
    return { percent: Math.floor(stage.from + share * (stage.to - stage.from)), label: stage.label }
  }
  return undefined
}
