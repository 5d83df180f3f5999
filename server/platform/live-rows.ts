import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Context } from './context.ts'

/** What strangers can fill must not grow: about 2 MB of rows or verified tokens at most. */
export const maxRemembered = 10_000

/** Keeps a value under a key that has none yet; at the ceiling the oldest entry goes. */
export function rememberIfAbsent<V>(map: Map<string, V>, key: string, value: V): void {
  if (map.has(key)) return
  const [oldest] = map.keys()
  if (map.size >= maxRemembered && oldest !== undefined) map.delete(oldest)
  map.set(key, value)
}

export type LiveRows<Row> = (key: string) => Row | undefined | Promise<Row | undefined>

/**
 * The rows that credentials stand on, as they are now. On PostgreSQL no row is kept, because another replica may have
 * changed it: requests that arrive in the same moment share one reading, which begins after the last of them. On SQLite this process alone writes, so a row read is kept until `identity` news; then it is answered at
 * once. A row that was being read when news came is answered to its caller but not kept: a revoked one cannot come back.
 */
export function createLiveRows<Row>(ctx: Context, load: (key: string) => Promise<Row | undefined>): LiveRows<Row> {
  if (ctx.db.dialect === 'postgres') return shareReadings(load)
  const rows = new Map<string, Row>()
  let news = 0
  ctx.bus.subscribe('identity', () => {
    news++
    rows.clear()
  })
  async function read(key: string): Promise<Row | undefined> {
    const newsBefore = news
    const row = await load(key)
    if (row !== undefined && news === newsBefore) rememberIfAbsent(rows, key, row)
    return row
  }
  return (key) => rows.get(key) ?? read(key)
}

/** Who comes once a reading has begun waits for the next: a right that was taken away in between must be missed. */
function shareReadings<Row>(load: (key: string) => Promise<Row | undefined>): LiveRows<Row> {
  const due = new Map<string, Promise<Row | undefined>>()
  async function read(key: string): Promise<Row | undefined> {
    await nextTurn()
    due.delete(key)
    return load(key)
  }
  return (key) => {
    const reading = due.get(key) ?? read(key)
    due.set(key, reading)
    return reading
  }
}
