import type { Login } from '@hivesync/contracts/sessions.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import type { RevocationEffect } from '../platform/revocation.ts'
import { type Client, passGate } from '../sessions/sessions.ts'
import {
  type AuthorizationRow,
  deleteApproved,
  deleteApprovedBy,
  deleteExpired,
  findByDeviceCode,
  insertAuthorization,
  isApproverTrusted,
  setPolled,
} from './queries.ts'
import { formatUserCode, hashUserCode, makeUserCode } from './user-code.ts'

const ttlMs = 10 * 60_000
const intervalMs = 5000
const attempts = 5
const devicePattern = /^hsc_[A-Za-z0-9_-]{43}$/

/**
 * Begins a login on a device without a browser (RFC 8628). The code that a person types is short because they must; it is worth something for
 * ten minutes and only to somebody who is signed in, proves themselves anew, and sees what asked.
 */
export async function startDeviceLogin(
  ctx: Context,
  actor: Actor,
  body: { deviceName?: string },
  deviceKey: string | null,
) {
  const deviceCode = `hsc_${ctx.random.token(32)}`
  const userCode = await insertWithCode(ctx, actor, { deviceCode, deviceName: body.deviceName ?? null, deviceKey })
  const verificationUri = `${ctx.config.publicUrl}/account/device`
  const shown = formatUserCode(userCode)
  return {
    deviceCode,
    userCode: shown,
    verificationUri,
    verificationUriComplete: `${verificationUri}#${shown}`,
    expiresIn: ttlMs / 1000,
    interval: intervalMs / 1000,
  }
}

async function insertWithCode(
  ctx: Context,
  actor: Actor,
  device: { deviceCode: string; deviceName: string | null; deviceKey: string | null },
): Promise<string> {
  const now = ctx.clock.now()
  for (let attempt = 1; ; attempt++) {
    const userCode = makeUserCode(ctx.random)
    const row = {
      id: ctx.random.id(),
      deviceCodeHash: sha256Hex(device.deviceCode),
      userCodeHash: hashUserCode(userCode),
      deviceName: device.deviceName,
      deviceKey: device.deviceKey,
      ip: actor.ip,
      userId: null,
      amr: null,
      decidedAt: null,
      approvedAt: null,
      lastPolledAt: null,
      createdAt: now,
      expiresAt: now + ttlMs,
    }
    try {
      await ctx.db.transaction((tx) => insertAuthorization(tx, row))
      return userCode
    } catch (error) {
      // Two open logins with one code: one of them would be let in as the other.
      if (isUniqueViolation(error) === undefined || attempt === attempts) throw error
    }
  }
}

/** What a device gets when it asks: the tokens once it was let in, and only once; a refusal that says whether to go on asking otherwise. */
export async function pollDeviceLogin(
  ctx: Context,
  actor: Actor,
  body: { deviceCode: string },
  client: Client,
  requireKey: (row: { deviceKey: string | null }) => Promise<void>,
): Promise<Login> {
  const row = await findAuthorization(ctx, body.deviceCode)
  // A device that showed a key at the start shows it again: the code alone, seen in transit, is worth nothing.
  await requireKey(row)
  if (row.decidedAt === null) {
    const isPatient = await ctx.db.transaction((tx) => setPolled(tx, row.id, ctx.clock.now(), intervalMs))
    throw new AppError(
      isPatient ? 'device_login_pending' : 'slow_down',
      {},
      { headers: { 'retry-after': String(intervalMs / 1000) } },
    )
  }
  const { userId, sessionId, approvedAt } = row
  if (userId === null || sessionId === null || approvedAt === null) throw new AppError('device_login_denied')
  const proof = {
    userId,
    amr: JSON.parse(row.amr ?? '[]') as string[],
    // Who let it in had passed the whole gate, and proved themselves once more for this.
    isMultiFactor: true,
    use: async (tx: Db) => (await isApproverTrusted(tx, sessionId)) && deleteApproved(tx, row.id),
  }
  const reply = await passGate(ctx, actor, proof, { ...client, deviceName: row.deviceName, deviceKey: row.deviceKey })
  if (reply !== undefined && !('mfaRequired' in reply)) return reply
  const target = { kind: 'user', id: userId }
  const act = { action: 'session.refused', outcome: 'refused', target, details: { method: 'device' } } as const
  await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
  throw new AppError('invalid_device_code')
}

async function findAuthorization(ctx: Context, deviceCode: string): Promise<AuthorizationRow> {
  const row = devicePattern.test(deviceCode)
    ? await findByDeviceCode(ctx.db.kysely, sha256Hex(deviceCode), ctx.clock.now())
    : undefined
  if (row === undefined) throw new AppError('invalid_device_code')
  return row
}

/** Forgets the logins that nobody decided in time. */
export async function pruneDeviceLogins(ctx: Context): Promise<void> {
  await deleteExpired(ctx.db.kysely, ctx.clock.now())
}

/** What falls with a person's sessions here: the devices they have let in that have not come yet. Whoever had one of the sessions may have approved them, and signed out. */
export const endApprovals: RevocationEffect = {
  name: 'device approvals',
  async apply(_ctx, tx, _actor, { sessionsOf = [] }) {
    for (const { userId } of sessionsOf) await deleteApprovedBy(tx, userId)
    return undefined
  },
}
