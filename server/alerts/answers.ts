import type { Context } from '../platform/context.ts'
import type { Condition, Finding } from './conditions.ts'

/** Below so many of a class between two looks a share says nothing. */
const fewErrors = 20
const fewRefusals = 500
const errorShare = 0.05
const refusalShare = 0.8

type Totals = Record<'all' | '4xx' | '5xx', number>
const before = new WeakMap<Context, Totals>()

function totalsOf({ metrics }: Context): Totals {
  const totals: Totals = { all: 0, '4xx': 0, '5xx': 0 }
  const family = metrics.families().find(({ name }) => name === 'hivesync_requests_total')
  for (const { labels, value } of family?.samples ?? []) {
    totals.all += value
    if (labels?.status === '4xx' || labels?.status === '5xx') totals[labels.status] += value
  }
  return totals
}

/** What this process has answered since the last look: many faults, or refusals beyond what clients of ours cause. */
export const answers: Condition = {
  kind: 'answers_failing',
  async find(ctx) {
    const now = totalsOf(ctx)
    const last = before.get(ctx) ?? now
    before.set(ctx, now)
    const all = now.all - last.all
    const [refused, failed] = [now['4xx'] - last['4xx'], now['5xx'] - last['5xx']]
    const findings: Finding[] = []
    if (failed >= fewErrors && failed > all * errorShare)
      findings.push({
        subject: '5xx',
        severity: 'critical',
        detail: `${failed} of ${all} requests within half a minute failed by a fault of the server`,
      })
    if (refused >= fewRefusals && refused > all * refusalShare)
      findings.push({
        subject: '4xx',
        severity: 'warning',
        detail: `${refused} of ${all} requests within half a minute were refused`,
      })
    return findings
  },
}
