import type { ReceiptBody, ReceiptPhase, ReceiptRun } from '@hivesync/protocol/receipt.ts'
import type { Sandbox, SandboxResult, SandboxSpec } from '../sandbox/spec.ts'

/** protocol/receipt.ts: a receipt holds so many phases. */
const maxPhases = 16
const otherPhases = 'other'

export interface RunRecord {
  /** The same sandbox, which notes how each of its runs went. */
  readonly sandbox: Sandbox
  /** The runs from here on belong to this phase. */
  enter(phase: string): void
  /** What limited the runs so far and what they used; undefined when nothing ran. */
  summary(): Pick<ReceiptBody, keyof ReceiptRun | 'phases'> | undefined
}

/** Keeps, for the receipt of a job, what its sandbox runs were held by and what they took: one entry per phase, runs of one phase added up. */
export function openRunRecord(inner: Sandbox, firstPhase: string): RunRecord {
  const phases = new Map<string, ReceiptPhase>()
  let current = firstPhase
  let last = firstPhase

  function note(phase: string, result: SandboxResult): void {
    const name = phases.has(phase) || phases.size < maxPhases - 1 ? phase : otherPhases
    const run = { phase: name, ...toReceiptRun(result) }
    const before = phases.get(name)
    phases.set(name, before === undefined ? run : addUp(before, run))
    last = name
  }
  return {
    sandbox: {
      ...inner,
      async run(spec: SandboxSpec) {
        const phase = current
        const result = await inner.run(spec)
        note(phase, result)
        return result
      },
    },
    enter(phase) {
      current = phase
    },
    summary() {
      const decided = phases.get(last)
      if (decided === undefined) return undefined
      const { phase: _, ...run } = decided
      return { ...run, ...(phases.size > 1 && { phases: [...phases.values()] }) }
    },
  }
}

function toReceiptRun({ exitCode, receipt }: SandboxResult): ReceiptRun {
  const { layers, limits, killed, ...usage } = receipt
  return { layers, limits: { ...limits }, usage, exitCode, killed }
}

const isPeak = (name: string): boolean => name.startsWith('peak')

/** Two runs of one phase: sums add up, peaks and limits are the greater, and how the later one ended counts unless the earlier was killed. */
function addUp(a: ReceiptPhase, b: ReceiptPhase): ReceiptPhase {
  const usage = Object.fromEntries(
    Object.entries(b.usage).map(([name, used]) => {
      const before = a.usage[name] ?? null
      if (before === null || used === null) return [name, before ?? used]
      return [name, isPeak(name) ? Math.max(before, used) : before + used]
    }),
  )
  const limits = Object.fromEntries(
    Object.entries(b.limits).map(([name, limit]) => [name, Math.max(limit, a.limits[name] ?? 0)]),
  )
  return { ...b, usage, limits, killed: a.killed ?? b.killed }
}
