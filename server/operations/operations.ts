import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'

const patienceMs = 2000

/** Answers when every dependency does; otherwise refuses with `not_ready` and the name of each that fails (requirement M2). */
export async function requireReady(ctx: Context): Promise<{ status: 'ready' }> {
  const reason = await failureOf(ctx.db.ping())
  if (reason === undefined) return { status: 'ready' }
  ctx.log.warn({ event: 'not_ready', name: 'database', reason })
  throw new AppError('not_ready', {}, { detail: 'The database does not answer', headers: { 'retry-after': '5' } })
}

async function failureOf(check: Promise<void>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), patienceMs)
  })
  try {
    await Promise.race([check, late])
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : 'unknown'
  } finally {
    clearTimeout(timer)
  }
}
