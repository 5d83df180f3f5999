import { Readable } from 'node:stream'
import type { AuditEvent } from '@hivesync/contracts/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { recordAudit } from './audit.ts'
import { csvRow } from './csv.ts'
import { exportLog } from './log-export.ts'
import { type AuditQuery, requireFilter, toEvents } from './read.ts'
import { type Filter, listEvents } from './read-queries.ts'
import { sealAudit } from './sequence.ts'

const pageSize = 500
const columns = [
  'id',
  'at',
  'actorKind',
  'actorId',
  'action',
  'outcome',
  'targetKind',
  'targetId',
  'teamId',
  'projectId',
  'requestId',
  'ip',
  'details',
]

/** Who exports now, in this process: a log of millions is read once at a time by each. */
const exporting = new WeakMap<Context, Map<string, symbol>>()

/**
 * The events that match, oldest first, as RFC 4180 CSV or as a JSON object a line: a stream that is read as fast as it is taken and calls `prove` before
 * each page. The export is an event of the log itself.
 */
export async function exportAudit(
  ctx: Context,
  actor: Actor,
  query: AuditQuery & { format?: 'csv' | 'jsonl' | undefined },
  prove: () => Promise<Actor>,
): Promise<Readable> {
  const { format = 'csv', ...asked } = query
  const filter = await requireFilter(ctx, actor, asked)
  return begin(ctx, actor, format, asked.teamId ?? null, () => {
    // A role that was lost meanwhile ends it, like the credentials.
    const proveAgain = async () => void (await requireFilter(ctx, await prove(), asked))
    return write(ctx, actor, filter, format, proveAgain)
  })
}

/** The whole log up to a checkpoint that is signed for it, to be verified without this server. */
export function exportAuditLog(ctx: Context, actor: Actor, prove: () => Promise<void>): Promise<Readable> {
  return begin(ctx, actor, 'log', null, async function* () {
    await sealAudit(ctx)
    yield* exportLog(ctx.db.kysely, prove)
  })
}

async function begin(
  ctx: Context,
  actor: Actor,
  format: string,
  teamId: string | null,
  pieces: () => AsyncGenerator<string>,
): Promise<Readable> {
  const people = exporting.get(ctx) ?? new Map<string, symbol>()
  exporting.set(ctx, people)
  const person = actor.userId ?? ''
  if (people.has(person)) throw new AppError('export_running')
  const own = Symbol(format)
  people.set(person, own)
  const end = (): void => {
    if (people.get(person) === own) people.delete(person)
  }
  try {
    const act = { action: 'audit.exported', teamId, details: { format } }
    await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
  } catch (error) {
    end()
    throw error
  }
  const stream = Readable.from(ending(pieces(), end), { objectMode: false, highWaterMark: 64 * 1024 })
  // Also when the client hangs up before anything was read.
  return stream.once('close', end)
}

async function* ending(pieces: AsyncGenerator<string>, end: () => void): AsyncGenerator<string> {
  try {
    yield* pieces
  } finally {
    end()
  }
}

async function* write(
  ctx: Context,
  actor: Actor,
  filter: Filter,
  format: 'csv' | 'jsonl',
  prove: () => Promise<void>,
): AsyncGenerator<string> {
  if (format === 'csv') yield csvRow(columns)
  for (let after: string | undefined; ; ) {
    await prove()
    const { rows, resumeAt } = await listEvents(ctx.db.kysely, filter, { limit: pageSize, after, newestFirst: false })
    const isMore = rows.length > pageSize
    const shown = isMore ? rows.slice(0, pageSize) : rows
    const events = await toEvents(ctx, actor, shown)
    if (events.length > 0) yield events.map(format === 'csv' ? toCsv : toLine).join('')
    after = isMore ? shown.at(-1)?.id : (resumeAt ?? undefined)
    if (after === undefined) return
  }
}

const toLine = (event: AuditEvent): string => `${JSON.stringify(event)}\n`

function toCsv(event: AuditEvent): string {
  const { actor, target, details } = event
  return csvRow([
    event.id,
    event.at,
    actor.kind,
    actor.id,
    event.action,
    event.outcome,
    target?.kind ?? null,
    target?.id ?? null,
    event.teamId,
    event.projectId,
    event.requestId,
    event.ip,
    JSON.stringify(details),
  ])
}
