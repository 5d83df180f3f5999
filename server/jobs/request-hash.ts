import type { NewJob } from '@hivesync/contracts/jobs.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'

/** What a submission is recognized by under its idempotency key. Under a key of ours: a plain hash would let whoever reads the database guess its secrets. */
export function hashRequest(ctx: Context, submission: NewJob): string {
  return ctx.keyring.mac('idempotency', JSON.stringify(submission))
}

export function isSameRequest(ctx: Context, submission: NewJob, stored: string | null): boolean {
  if (stored === null) return false
  const text = JSON.stringify(submission)
  // As the previous version stored it.
  if (/^[0-9a-f]{64}$/.test(stored)) return stored === sha256Hex(text)
  return ctx.keyring.verifyMac('idempotency', text, stored)
}
