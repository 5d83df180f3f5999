import type { ExternalFlow } from '@hivesync/contracts/external.ts'
import type { LoginReply } from '@hivesync/contracts/sessions.ts'
import { findAccountByLogin, lockAccount, loginKey, noticeCredentialChange } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import type { ExternalPerson } from '../platform/net/openid.ts'
import { issueOneTimeToken, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { type Client, passGate } from '../sessions/sessions.ts'
import { makeAccount } from './new-account.ts'
import { askProvider, authorizationUrl, type ProviderAnswer, requireProvider } from './provider.ts'
import { findIdentity, type IdentityRow, insertIdentity, setIdentityUsed } from './queries.ts'

const purpose = 'external-login'
const ttlMs = 10 * 60_000

/** The configured provider, for the button. */
export async function getExternalProvider(ctx: Context) {
  const { oidc } = ctx.config
  return { provider: oidc === null ? null : { name: oidc.name, issuer: oidc.issuer } }
}

/** Begins a login: the flow token stays with the browser that asked, so that nobody can be signed in to somebody else's account by a link. */
export async function startExternalLogin(ctx: Context): Promise<ExternalFlow> {
  requireProvider(ctx)
  const flowToken = await ctx.db.transaction((tx) => issueOneTimeToken(ctx, tx, { purpose, ttlMs }))
  return { url: await authorizationUrl(ctx, flowToken), flowToken }
}

/**
 * Finishes a login. A person is who issuer and subject say, from the first login on. The first one is matched with an existing account only
 * over an address that both sides have proved (against pre-hijacking: whoever registered with somebody else's address gets nothing),
 * and otherwise makes a new account where registration allows. The gate is the one of every login: a second factor is asked for.
 */
export async function finishExternalLogin(
  ctx: Context,
  actor: Actor,
  body: ProviderAnswer & { invitation?: string },
  client: Client,
): Promise<LoginReply> {
  try {
    return await logIn(ctx, actor, body, client)
  } catch (error) {
    if (error instanceof AppError && error.status < 500) await auditRefusal(ctx, actor, error)
    throw error
  }
}

async function logIn(
  ctx: Context,
  actor: Actor,
  body: ProviderAnswer & { invitation?: string },
  client: Client,
): Promise<LoginReply> {
  const flow = await ctx.db.transaction((tx) => spendOneTimeToken(ctx, tx, purpose, body.flowToken))
  if (flow === undefined) throw new AppError('invalid_external_login')
  const person = await askProvider(ctx, body)
  const identity =
    (await findIdentity(ctx.db.kysely, person.issuer, person.subject)) ??
    (await firstIdentity(ctx, actor, person, body.invitation))
  const { userId } = identity
  const use = (tx: Db) => setIdentityUsed(tx, identity.id, ctx.clock.now())
  const reply = await passGate(ctx, actor, { userId, amr: ['external'], isMultiFactor: false, use }, client)
  if (reply === undefined) throw new AppError('invalid_external_login', { userId })
  return reply
}

async function firstIdentity(
  ctx: Context,
  actor: Actor,
  person: ExternalPerson,
  invitation: string | undefined,
): Promise<IdentityRow> {
  const { email } = person
  if (email === null || !person.emailVerified) throw new AppError('external_email_unverified')
  const account = await findAccountByLogin(ctx.db.kysely, email)
  try {
    if (account === undefined) return await makeAccount(ctx, actor, { ...person, email }, invitation)
    return await link(ctx, actor, { ...person, email }, account.id)
  } catch (error) {
    const constraint = isUniqueViolation(error)
    if (constraint === undefined) throw error
    // Another login of the same person at the same moment was faster.
    const made = await findIdentity(ctx.db.kysely, person.issuer, person.subject)
    if (made !== undefined) return made
    // Or somebody registered with the address.
    throw constraint === 'users(email_key)' ? new AppError('external_link_required') : error
  }
}

/** Links an account whose owner has proved the address, as it is now: it may have been another one's, deactivated or erased since it was found. */
function link(
  ctx: Context,
  actor: Actor,
  { issuer, subject, email }: ExternalPerson & { email: string },
  userId: string,
): Promise<IdentityRow> {
  const row = { id: ctx.random.id(), userId, issuer, subject, createdAt: ctx.clock.now(), lastUsedAt: null }
  return ctx.db.transaction(async (tx) => {
    const account = await lockAccount(tx, userId)
    if (account === undefined || account.emailVerifiedAt === null || loginKey(account.email) !== loginKey(email))
      throw new AppError('external_link_required', { userId })
    const identity = await insertIdentity(tx, row)
    const target = { kind: 'external_identity', id: row.id }
    const details = { userId, by: 'verified_email' }
    await recordAudit(ctx, tx, actor, { action: 'external_identity.linked', target, details })
    const said = 'Your account was linked to the external sign-in of this server, over your verified address.'
    await noticeCredentialChange(ctx, tx, account, actor, said)
    return identity
  })
}

async function auditRefusal(ctx: Context, actor: Actor, { code, details: { userId } }: AppError): Promise<void> {
  const target = typeof userId === 'string' ? { target: { kind: 'user', id: userId } } : {}
  const details = { method: 'external', reason: code }
  const act = { action: 'session.refused', outcome: 'refused', ...target, details } as const
  await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
}
