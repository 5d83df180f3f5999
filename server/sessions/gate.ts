import type { Login, LoginReply } from '@hivesync/contracts/sessions.ts'
import { type Account, getUser, lockAccount, setLogin } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { hasSecondFactor, listMfaMethods } from '../mfa/mfa.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { issueOneTimeToken } from '../platform/one-time-tokens.ts'
import { type Revoke, revoking } from '../platform/revocation.ts'
import { findKnownDevice, type KnownDevice, rememberDevice, setDeviceUsed } from './known-devices.ts'
import { noticeNewDevice } from './new-device-notice.ts'
import { endSurplusSessions, insertSession, type SessionRow } from './queries.ts'
import { firstRefreshToken } from './refresh-token.ts'
import { issueTokens } from './tokens.ts'

const dayMs = 24 * 60 * 60 * 1000
/** NIST SP 800-63B-4 §2.1.3: 30 days overall where one factor suffices. Activity does not extend it. */
const sessionLifetimeMs = 30 * dayMs
/** Without a refresh for this long the session is over. */
export const idleLifetimeMs = 7 * dayMs
/** ASVS 7.1.2: beyond this many the one unused for longest ends. */
const maxSessions = 50
const mfaTtlMs = 5 * 60_000
const mfaAttempts = 5
const maxUserAgentLength = 200

/** Where somebody signs in from. */
export interface Client {
  readonly deviceName: string | null
  readonly userAgent: string | null
  /** The thumbprint of the key that refreshes must prove from now on; null to leave the session unbound. */
  readonly deviceKey: string | null
  readonly known: KnownDevice | undefined
}

/** What was proved before the gate, by whichever way of signing in. */
export interface Proof {
  readonly userId: string
  /** RFC 8176 methods. */
  readonly amr: readonly string[]
  /** Both factors at once: a passkey with user verification, or a device that a full session let in. */
  readonly isMultiFactor: boolean
  /** SHA-256 of the stored password hash that was matched: a password changed meanwhile proves nothing. */
  readonly passwordFingerprint?: string
  /** Forgives the attempt, in the session's transaction and before anything in it is locked: a commit of its own would be half of what a login costs. */
  forgive?(tx: Db): Promise<void>
  /** Marks what was used as used, in the session's transaction; false when somebody else was faster. */
  use?(tx: Db): Promise<boolean>
}

/**
 * The one gate of every way to sign in (reference T9): locks the account, looks whether what was proved still holds, demands a second
 * factor where there is one, and only then makes a session. Undefined when the proof no longer holds: the caller refuses in its own words.
 */
export async function passGate(
  ctx: Context,
  actor: Actor,
  proof: Proof,
  client: Client,
): Promise<LoginReply | undefined> {
  const passed = await revoking(ctx, actor, async (tx, revoke) => {
    await proof.forgive?.(tx)
    const account = await lockAccount(tx, proof.userId)
    if (account === undefined || !isStillProved(account, proof)) return undefined
    if (proof.use !== undefined && !(await proof.use(tx))) return undefined
    requireVerifiedEmail(ctx, account)
    const isEnough = proof.isMultiFactor || !(await hasSecondFactor(tx, account.id))
    if (isEnough) return startSession(ctx, tx, revoke, actor, { account, amr: proof.amr, client })
    const methods = await listMfaMethods(tx, account.id)
    const data = { amr: proof.amr, passwordFingerprint: proof.passwordFingerprint, client }
    const pending = { purpose: mfaPurpose, userId: account.id, ttlMs: mfaTtlMs, attempts: mfaAttempts, data }
    const mfaToken = await issueOneTimeToken(ctx, tx, pending)
    const target = { kind: 'user', id: account.id }
    await recordAudit(ctx, tx, actor, { action: 'session.mfa_required', target, details: { amr: proof.amr.join(' ') } })
    return { mfaRequired: true as const, mfaToken, methods, expiresIn: mfaTtlMs / 1000 }
  })
  if (passed === undefined || 'mfaRequired' in passed) return passed
  return finishLogin(ctx, passed)
}

export const mfaPurpose = 'mfa'

export function isStillProved(
  account: { passwordHash: string | null },
  proof: { passwordFingerprint?: string | undefined },
): boolean {
  if (proof.passwordFingerprint === undefined) return true
  return account.passwordHash !== null && fingerprintOf(account.passwordHash) === proof.passwordFingerprint
}

/** What stands for a stored password hash where the hash itself must not be kept. */
export function fingerprintOf(passwordHash: string): string {
  return sha256Hex(passwordHash)
}

export function requireVerifiedEmail(ctx: Context, account: Account): void {
  if (ctx.config.emailVerification === 'required' && account.emailVerifiedAt === null)
    throw new AppError('email_unverified', {}, { detail: 'Open the link in the mail that was sent to it' })
}

export interface Started {
  account: Account
  session: SessionRow
  refreshToken: string
  deviceToken: string | undefined
  user: Login['user']
}

/** Inserts the session of a person who has proved everything; to be called by the gate's two halves only. */
export async function startSession(
  ctx: Context,
  tx: Db,
  revoke: Revoke,
  actor: Actor,
  { account, amr, client }: { account: Account; amr: readonly string[]; client: Client },
): Promise<Started> {
  const now = ctx.clock.now()
  const id = ctx.random.id()
  const refreshToken = firstRefreshToken(ctx, id)
  await setLogin(tx, account.id, { lastLoginAt: now })
  const device = await recogniseDevice(ctx, tx, account, client)
  const session = await insertSession(tx, {
    id,
    userId: account.id,
    deviceName: client.deviceName,
    userAgent: client.userAgent,
    ip: actor.ip,
    createdAt: now,
    lastSeenAt: now,
    expiresAt: now + sessionLifetimeMs,
    idleExpiresAt: now + idleLifetimeMs,
    refreshCounter: 0,
    refreshHash: sha256Hex(refreshToken),
    rotatedAt: now,
    amr: JSON.stringify(amr),
    deviceId: device.id,
    deviceKey: client.deviceKey,
    deviceKeyFrom: client.deviceKey === null ? null : 0,
  })
  if ((await endSurplusSessions(tx, account.id, maxSessions, now)) > 0) await revoke({})
  const person: Actor = { ...actor, kind: 'user', id: account.id, userId: account.id, sessionId: id }
  const details = { amr: amr.join(' '), newDevice: device.token !== undefined }
  await recordAudit(ctx, tx, person, { action: 'session.started', target: { kind: 'session', id }, details })
  if (device.token !== undefined && !device.isFirst) await noticeNewDevice(ctx, tx, account, session)
  return { account, session, refreshToken, deviceToken: device.token, user: await getUser(tx, account.id) }
}

async function recogniseDevice(
  ctx: Context,
  tx: Db,
  account: Account,
  client: Client,
): Promise<{ id: string; token?: string; isFirst: boolean }> {
  const { known } = client
  if (known?.userId === account.id && (await setDeviceUsed(ctx, tx, known))) return { id: known.id, isFirst: false }
  return rememberDevice(ctx, tx, account.id, client.deviceName)
}

/** The reply to a login, once its transaction has committed. */
export async function finishLogin(ctx: Context, started: Started): Promise<Login> {
  const { account, session, refreshToken, deviceToken, user } = started
  const tokens = await issueTokens(ctx, account, session, refreshToken)
  return { ...tokens, user, ...(deviceToken !== undefined && { deviceToken }) }
}

/** Reads what a login says about its device. */
export async function readClient(
  ctx: Context,
  from: { device?: { name?: string; token?: string }; userAgent: string | undefined; deviceKey: string | null },
): Promise<Client> {
  const userAgent = from.userAgent?.replace(/\p{Cc}/gu, '').slice(0, maxUserAgentLength)
  return {
    deviceName: from.device?.name ?? null,
    userAgent: userAgent === undefined || userAgent === '' ? null : userAgent,
    deviceKey: from.deviceKey,
    known: await findKnownDevice(ctx, from.device?.token),
  }
}
