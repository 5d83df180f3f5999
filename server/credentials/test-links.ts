// For tests: links read from mails as their readers would, and what a request has left in the database.
import assert from 'node:assert/strict'
import { sql } from 'kysely'
import type { Hive } from '../../test/harness/hive.ts'

export const otherPassword = 'another battery, another staple'

/** The secrets of the links of this kind in the mails to an address, oldest first. */
export async function linksTo(hive: Hive, address: string, kind: string): Promise<string[]> {
  const mails = (await hive.mails()).filter(({ to }) => to === address)
  const link = new RegExp(`^${hive.ctx.config.publicUrl}/account#${kind}=(\\S+)$`, 'm')
  return mails.flatMap(({ text }) => link.exec(text)?.[1] ?? [])
}

/** The newest one; fails the test when there is none. */
export async function linkTo(hive: Hive, address: string, kind: string): Promise<string> {
  const token = (await linksTo(hive, address, kind)).at(-1)
  assert.ok(token, `no mail to ${address} with a link to ${kind}`)
  return token
}

export function audited(hive: Hive, action: string) {
  return hive.ctx.db.kysely
    .selectFrom('auditEvents')
    .select(['outcome', 'actorId', 'targetId', 'details'])
    .where('action', '=', action)
    .orderBy('id')
    .execute()
}

const watched = [
  'users',
  'teams',
  'team_members',
  'one_time_tokens',
  'mail_queue',
  'login_throttles',
  'audit_events',
  'sessions',
] as const

/** How many rows each table has gained by an act. */
export async function gains(hive: Hive, act: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await counts(hive)
  await act()
  const after = await counts(hive)
  return Object.fromEntries(watched.map((table) => [table, (after[table] ?? 0) - (before[table] ?? 0)]))
}

async function counts(hive: Hive): Promise<Record<string, number>> {
  const entries = watched.map(async (table) => {
    const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.table(table)}`.execute(
      hive.ctx.db.kysely,
    )
    return [table, Number(rows[0]?.count)] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

/** What a stranger sees of a reply: everything but what differs between any two of them. */
export function seen(reply: { statusCode: number; body: string; headers: Record<string, unknown> }) {
  const headers = Object.entries(reply.headers).filter(([name]) => !['x-request-id', 'date'].includes(name))
  const body = reply.body.replace(/"requestId":"[^"]+"/, '')
  return {
    status: reply.statusCode,
    body,
    headers: Object.fromEntries(headers.filter(([name]) => !/^(x-)?ratelimit/.test(name))),
  }
}
