import type { ExternalFlow, ExternalIdentity } from '@hivesync/contracts/external.ts'
import { findAccount, hasOtherCredential, noticeCredentialChange } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { listMfaMethods } from '../mfa/mfa.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { issueOneTimeToken, revokeOneTimeTokens, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { requireLiveSession } from '../sessions/sessions.ts'
import { askProvider, authorizationUrl, type ProviderAnswer, requireProvider } from './provider.ts'
import { deleteIdentity, type IdentityRow, insertIdentity, listIdentityRows } from './queries.ts'

const purpose = 'external-link'
const ttlMs = 10 * 60_000

/** Begins to link the account of the session to the external provider; the proof it needed is carried on by the flow token. */
export async function startExternalLink(ctx: Context, actor: Actor): Promise<ExternalFlow> {
  const { userId, sessionId } = requireSession(actor)
  requireProvider(ctx)
  const flowToken = await ctx.db.transaction((tx) => issueOneTimeToken(ctx, tx, { purpose, ttlMs, userId, sessionId }))
  return { url: await authorizationUrl(ctx, flowToken), flowToken }
}

/** Finishes the link, in the session that began it and no other. */
export async function finishExternalLink(ctx: Context, actor: Actor, body: ProviderAnswer): Promise<ExternalIdentity> {
  const { userId, sessionId } = requireSession(actor)
  const flow = await ctx.db.transaction((tx) => spendOneTimeToken(ctx, tx, purpose, body.flowToken))
  if (flow?.sessionId !== sessionId) throw new AppError('invalid_external_login')
  const { issuer, subject } = await askProvider(ctx, body)
  const row = { id: ctx.random.id(), userId, issuer, subject, createdAt: ctx.clock.now(), lastUsedAt: null }
  try {
    return await ctx.db.transaction(async (tx) => {
      // The provider took its time: whoever has ended the session meanwhile must not find this identity afterwards.
      await requireLiveSession(ctx, tx, actor)
      const identity = await insertIdentity(tx, row)
      await settle(ctx, tx, actor, 'linked', row.id, 'Your account was linked to an external sign-in.')
      return toIdentity(identity)
    })
  } catch (error) {
    if (isUniqueViolation(error) === 'external_identities(issuer,subject)')
      throw new AppError('external_identity_taken')
    throw error
  }
}

export async function listExternalIdentities(ctx: Context, actor: Actor): Promise<{ items: ExternalIdentity[] }> {
  const { userId } = requireSession(actor)
  return { items: (await listIdentityRows(ctx.db.kysely, userId)).map(toIdentity) }
}

/** Unlinks an external identity, unless nobody could sign in any more after it. */
export async function removeExternalIdentity(ctx: Context, actor: Actor, identityId: string): Promise<void> {
  const { userId } = requireSession(actor)
  await ctx.db.transaction(async (tx) => {
    await requireLiveSession(ctx, tx, actor)
    if (!(await deleteIdentity(tx, userId, identityId))) throw new AppError('external_identity_not_found')
    if (!(await hasOtherCredential(tx, userId)) && !(await hasPasskey(tx, userId)))
      throw new AppError('last_credential')
    await settle(ctx, tx, actor, 'unlinked', identityId, 'An external sign-in was unlinked from your account.')
  })
}

/** Without a password only a passkey signs in by itself; a second factor of another kind does not. */
async function hasPasskey(tx: Db, userId: string): Promise<boolean> {
  return (await listMfaMethods(tx, userId)).includes('passkey')
}

async function settle(ctx: Context, tx: Db, actor: Actor, what: string, id: string, said: string): Promise<void> {
  const { userId } = requireSession(actor)
  await revokeOneTimeTokens(tx, userId, ['mfa', 'step-up'])
  const target = { kind: 'external_identity', id }
  await recordAudit(ctx, tx, actor, { action: `external_identity.${what}`, target })
  const account = await findAccount(tx, userId)
  if (account !== undefined) await noticeCredentialChange(ctx, tx, account, actor, said)
}

function toIdentity(row: IdentityRow): ExternalIdentity {
  const { id, issuer } = row
  return { id, issuer, createdAt: isoTime(row.createdAt), lastUsedAt: isoTime(row.lastUsedAt) }
}
