import { importPublicKey } from '@hivesync/protocol/keys.ts'
import { isReceiptOf, verifyReceipt } from '@hivesync/protocol/receipt.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import type { FoundLease } from './queries.ts'

/**
 * Whether a completion's receipt is signed by the worker that holds the lease, and about this very lease. False for a worker of the version before, which
 * signs none. A wrong signature, or a genuine receipt of another job or attempt, is an alarm: audited, and `receipt_invalid`. Of a lease that is
 * gone nothing is judged; the completion finds out by itself.
 */
export async function requireReceipt(
  ctx: Context,
  actor: Actor,
  lease: FoundLease | undefined,
  receipt: Record<string, unknown> | undefined,
): Promise<boolean> {
  if (receipt === undefined || receipt.signature === undefined || lease === undefined) return false
  const { token, jobId, workerId, projectId, teamId } = lease
  const expected = { jobId, workerId, token, attempt: lease.number }
  // Also the key of this request, should another one have ended it meanwhile; and the one before, which may have signed while it was replaced.
  const keys = new Set([actor.workerKey, lease.publicKey, lease.previousPublicKey].filter((key) => key != null))
  const results = [...keys].map((key) => verifyReceipt(importPublicKey(key), receipt))
  const verified = results.find((result) => result.ok)
  if (verified?.ok === true && isReceiptOf(verified.receipt, expected)) return true
  const reason = verified?.ok === true ? 'another_lease' : results.some(isForged) ? 'signature' : 'malformed'
  ctx.log.error({ event: 'receipt_invalid', workerId, jobId, token, reason })
  await ctx.db.transaction((tx) =>
    recordAudit(ctx, tx, actor, {
      action: 'worker.receipt_refused',
      outcome: 'refused',
      target: { kind: 'job', id: jobId },
      teamId,
      projectId,
      details: { reason, token },
    }),
  )
  throw new AppError('receipt_invalid', { token, reason })
}

function isForged(result: ReturnType<typeof verifyReceipt>): boolean {
  return !result.ok && result.reason === 'signature'
}
