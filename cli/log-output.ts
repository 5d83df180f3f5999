import type { LogLine } from '@hivesync/contracts/jobs.ts'
import type { Terminal } from './terminal.ts'
import { formatCount } from './units.ts'

export interface LogOutput {
  write(line: LogLine): Promise<void>
  /** The number of the last line written; -1 before the first. */
  lastSeq(): number
}

/**
 * Writes a job's log where it belongs: its stdout to ours, its stderr and the worker's own remarks to ours. Numbers run
 * without a gap: what is missing is said, never hidden.
 */
export function createLogOutput(terminal: Terminal, after: number): LogOutput {
  let last = after
  const atLineStart = { stdout: true, stderr: true }

  async function remark(text: string): Promise<void> {
    if (!atLineStart.stderr) await terminal.writeOutput('stderr', '\n')
    atLineStart.stderr = true
    // The worker's remarks come with this mark, the server's without.
    await terminal.writeOutput('stderr', `[hivesync] ${text.replace(/^\[hivesync\] /, '').replace(/\n$/, '')}\n`)
  }

  return {
    async write({ seq, stream, text, gap }) {
      if (seq <= last) return
      if (seq > last + 1) await remark(`${seq - last - 1} pieces of the log are missing here`)
      last = seq
      if (gap !== undefined) return remark(`${formatCount(gap.bytes)} bytes of ${stream} are missing here`)
      if (stream === 'system') return remark(text)
      atLineStart[stream] = text.endsWith('\n')
      await terminal.writeOutput(stream, text)
    },
    lastSeq: () => last,
  }
}
