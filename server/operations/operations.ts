import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import type { Windows } from '../platform/limits/windows.ts'
import { readTroubles } from './dependencies.ts'

export { createMetricsPage } from './metrics.ts'
export { listenForMetrics, type MetricsListener } from './metrics-listener.ts'
export { taskEnded, taskStarts } from './tasks.ts'

/**
 * Answers while the server can do its work, with the names of what it does without; refuses with `not_ready` when it cannot (requirement M2). Reasons, which may name
 * what strangers need not know, are in the log alone.
 */
export async function requireReady(ctx: Context, windows: Windows): Promise<{ status: 'ready'; degraded?: string[] }> {
  const troubles = await readTroubles(ctx)
  if (troubles.has('database'))
    throw new AppError('not_ready', {}, { detail: 'The database does not answer', headers: { 'retry-after': '5' } })
  // Without Redis each replica counts its part of the limits by itself: worth knowing, no reason to send the requests elsewhere.
  const degraded = [...(windows.state === 'degraded' ? ['redis'] : []), ...troubles.keys()]
  return degraded.length === 0 ? { status: 'ready' } : { status: 'ready', degraded }
}
