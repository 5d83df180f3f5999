import { insertAccount, isSetUp, loginKey } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import type { ExternalPerson } from '../platform/net/openid.ts'
import { redeemInvitation } from '../teams/teams.ts'
import { type IdentityRow, insertIdentity } from './queries.ts'

const attempts = 5

/**
 * Makes the account of somebody who comes for the first time, without a password and with the address that the provider vouches for as proved;
 * as registration would, only where it is open or with an invitation to that address. A taken username gets a number.
 */
export async function makeAccount(
  ctx: Context,
  actor: Actor,
  person: ExternalPerson & { email: string },
  invitation: string | undefined,
): Promise<IdentityRow> {
  if (!(await isSetUp(ctx))) throw new AppError('setup_required')
  const { registration } = ctx.config
  if (registration === 'closed' || (registration === 'invite' && invitation === undefined))
    throw new AppError('registration_closed')
  for (let attempt = 1; ; attempt++) {
    try {
      return await insert(ctx, actor, person, usernameFor(ctx, person, attempt), invitation)
    } catch (error) {
      if (isUniqueViolation(error) !== 'users(username_key)' || attempt === attempts) throw error
    }
  }
}

function insert(
  ctx: Context,
  actor: Actor,
  person: ExternalPerson & { email: string },
  username: string,
  invitation: string | undefined,
): Promise<IdentityRow> {
  const { issuer, subject, email } = person
  const now = ctx.clock.now()
  return ctx.db.transaction(async (tx) => {
    const account = { passwordHash: null, isAdmin: false, emailVerifiedAt: now }
    const { userId, teamId } = await insertAccount(ctx, tx, { email, username }, account)
    if (invitation !== undefined) await redeemInvitation(ctx, tx, actor, invitation, { userId, email })
    const identity = { id: ctx.random.id(), userId, issuer, subject, createdAt: now, lastUsedAt: null }
    const row = await insertIdentity(tx, identity)
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'account.registered', target, teamId, details: { by: 'external' } })
    return row
  })
}

/** What the provider suggests, as far as our usernames allow, or the address's local part; with a number after the first attempt. */
function usernameFor(ctx: Context, person: ExternalPerson & { email: string }, attempt: number): string {
  const wish = person.preferredUsername ?? person.email.slice(0, person.email.lastIndexOf('@'))
  const base = loginKey(wish)
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
  const name = base.length >= 3 ? base : `person-${base}`.replace(/-$/, '')
  return attempt === 1 ? name : `${name}-${Math.floor(ctx.random.fraction() * 1_000_000)}`
}
