import type { AuditSink } from '../platform/config-audit.ts'
import type { Context } from '../platform/context.ts'
import { fileSink } from './sink-file.ts'
import { syslogSink } from './sink-syslog.ts'
import { webhookSink } from './sink-webhook.ts'

/** A leaf, or a checkpoint behind the leaf it ends with. */
export interface ShippedItem {
  readonly kind: 'leaf' | 'checkpoint'
  /** Of the leaf; of a checkpoint, that of the last leaf it covers. */
  readonly seq: number
  readonly at: number
  /** One line of JSON, without its end: the same as in an export of the log. */
  readonly line: string
}

export interface Sink {
  /** What its progress is kept under: another address begins anew. */
  readonly name: string
  /** Resolves when the other side has all of it; what was sent before a failure comes again. */
  deliver(items: readonly ShippedItem[]): Promise<void>
}

export function createSink(ctx: Context, settings: AuditSink): Sink {
  if (settings.kind === 'file') return fileSink(settings)
  if (settings.kind === 'syslog') return syslogSink(settings, new URL(ctx.config.publicUrl).hostname)
  return webhookSink(ctx.net, settings)
}
