import type { Outcome } from './chaos.ts'

const shownViolations = 5

/** The outcome as tables: faults, load, invariants. */
export function formatOutcome(title: string, outcome: Outcome): string {
  const { faults, network, load, states, violations } = outcome
  const verdicts = Object.entries(violations).flatMap(([name, found]) => [
    `  ${found.length === 0 ? 'holds   ' : 'VIOLATED'}  ${name}${found.length === 0 ? '' : ` (${found.length})`}`,
    ...found.slice(0, shownViolations).map((text) => `              ${text}`),
  ])
  return [
    title,
    '',
    ...columns('faults', faults),
    ...columns('requests', network),
    ...columns('load', { ...load, 'completions accepted': outcome.completions }),
    ...columns('jobs in the end', states),
    '',
    ...verdicts,
    '',
    `  recovered ${(outcome.recoveredInMs / 1000).toFixed(1)} s after the last fault; counters were looked at ${outcome.looks} times`,
  ].join('\n')
}

export const isViolated = ({ violations }: Outcome): boolean =>
  Object.values(violations).some((found) => found.length > 0)

function columns(title: string, figures: Readonly<Record<string, number>>): string[] {
  return Object.entries(figures).map(
    ([name, figure], index) =>
      `  ${(index === 0 ? title : '').padEnd(16)}${name.padEnd(28)}${String(figure).padStart(7)}`,
  )
}
