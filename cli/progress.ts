import type { Machine } from './machine.ts'
import { dim, type Line, type Styled, type Terminal } from './terminal.ts'
import { formatDuration } from './units.ts'

export interface Step {
  phase: string
  /** 0 to 100, if known. */
  percent: number | null
  message: string | null
}

/** Progress of something long: one live line per phase on a terminal, plain lines elsewhere; both on standard error. */
export interface Progress {
  show(step: Step): Promise<void>
  /** Ends the phase under way; `mark` says how. */
  finish(mark: 'done' | 'failed' | 'left'): Promise<void>
}

const barWidth = 24
const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const marks = {
  done: { style: 'green', text: '✓' },
  failed: { style: 'red', text: '✗' },
  left: { style: 'yellow', text: '…' },
} as const satisfies Record<string, Styled>

export function createProgress(terminal: Terminal, machine: Machine): Progress {
  return terminal.isLive ? liveProgress(terminal, machine) : plainProgress(terminal)
}

function liveProgress(terminal: Terminal, machine: Machine): Progress {
  let current: Step | undefined
  let since = 0
  let frame = 0
  const draw = async (): Promise<void> => {
    if (current !== undefined)
      await terminal.draw(
        stepLine(current, frames[frame++ % frames.length] ?? '', machine.now() - since, terminal.columns('stderr')),
      )
  }
  let timer: NodeJS.Timeout | undefined

  async function finish(mark: keyof typeof marks): Promise<void> {
    clearInterval(timer)
    timer = undefined
    if (current === undefined) return
    const took = formatDuration(machine.now() - since)
    const message = mark === 'done' ? '' : (current.message ?? '')
    const line: Line = [marks[mark], ` ${current.phase.padEnd(10)} `, dim(took.padEnd(10)), message]
    current = undefined
    await terminal.note(line)
  }

  return {
    async show(step) {
      if (step.phase !== current?.phase) {
        await finish('done')
        since = machine.now()
        // A spinner that stands still looks like a hang; the line moves while nothing is reported.
        timer = setInterval(() => void draw(), 120)
      }
      current = step
      await draw()
    },
    finish,
  }
}

function stepLine(step: Step, frame: string, elapsedMs: number, columns = 80): Line {
  const { phase, percent, message } = step
  const filled = percent === null ? 0 : Math.round((percent / 100) * barWidth)
  const bar: Styled[] =
    percent === null ? [] : [{ style: 'cyan', text: '━'.repeat(filled) }, dim('─'.repeat(barWidth - filled))]
  const figures = percent === null ? '' : ` ${String(percent).padStart(3)}%`
  const head = `${frame} ${phase.padEnd(10)} `
  const time = ` ${formatDuration(elapsedMs)} `
  const used = head.length + (percent === null ? 0 : barWidth) + figures.length + time.length
  // A line that wraps cannot be erased with one carriage return.
  const room = Math.max(0, columns - used - 2)
  return [{ style: 'cyan', text: head }, ...bar, figures, dim(time), [...(message ?? '')].slice(0, room).join('')]
}

function plainProgress(terminal: Terminal): Progress {
  let last: Step | undefined
  return {
    async show(step) {
      const isNews =
        step.phase !== last?.phase || Math.floor((step.percent ?? 0) / 10) !== Math.floor((last?.percent ?? 0) / 10)
      if (!isNews) return
      last = step
      const percent = step.percent === null ? '' : ` ${step.percent}%`
      await terminal.note(`${step.phase}${percent}${step.message === null ? '' : ` ${step.message}`}`)
    },
    async finish() {},
  }
}
