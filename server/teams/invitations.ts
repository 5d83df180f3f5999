import { isTeamRoleEnough, type TeamRole, teamRoleFor } from '@hivesync/contracts/access.ts'
import type { Invitation, Team } from '@hivesync/contracts/teams.ts'
import { findAccount, loginKey, requireWellFormedEmail } from '../accounts/accounts.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { takeFromQuota } from '../platform/limits/quota.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { requireReach } from './members.ts'
import {
  countOpenInvitations,
  deleteExpiredInvitations,
  findInviter,
  findOpenInvitation,
  findTeam,
  type InvitationRow,
  insertInvitation,
  insertMember,
  listOpenInvitations,
  setInvitationAccepted,
  setInvitationsRevoked,
} from './queries.ts'
import { auditTeam, lockPerson, lockSharedTeam, requireTeam, toTeam } from './require-team.ts'

const ttlMs = 7 * 24 * 60 * 60_000
const dayMs = 24 * 60 * 60_000
/** Mails to strangers in a person's name: a mailbox, or our reputation, must not be flooded through them, also not by taking invitations back. */
const maxOpen = 100
const mostPerDay = 200
const mostToOnePerDay = 10
const pattern = /^hsi_[A-Za-z0-9_-]{43}$/

/** Invites an address to a team; an earlier open invitation of the team to it is worthless from now on. */
export async function createInvitation(
  ctx: Context,
  actor: Actor,
  teamId: string,
  body: { email: string; role: TeamRole },
): Promise<Invitation> {
  requireWellFormedEmail(body.email)
  return ctx.db.transaction(async (tx) => {
    const userId = await lockPerson(tx, actor)
    const team = await lockSharedTeam(tx, actor, teamId, 'manageMembers')
    requireReach(team.role, body.role)
    return invite(
      ctx,
      tx,
      { actor, userId },
      { teamId, role: body.role, email: body.email, to: `the team ${quoted(team.name)}` },
    )
  })
}

/** Invites an address to make an account here. */
export async function inviteToServer(ctx: Context, actor: Actor, body: { email: string }): Promise<Invitation> {
  requireWellFormedEmail(body.email)
  const about = { teamId: null, role: null, email: body.email, to: 'make an account' }
  return ctx.db.transaction(async (tx) => invite(ctx, tx, { actor, userId: await lockPerson(tx, actor) }, about))
}

async function invite(
  ctx: Context,
  tx: Db,
  { actor, userId }: { actor: Actor; userId: string },
  about: { teamId: string | null; role: TeamRole | null; email: string; to: string },
): Promise<Invitation> {
  const now = ctx.clock.now()
  const emailKey = loginKey(about.email)
  await setInvitationsRevoked(tx, about.teamId, { emailKey }, now)
  if ((await countOpenInvitations(tx, userId, now)) >= maxOpen) throw new AppError('too_many_invitations')
  await requireQuota(ctx, tx, userId, emailKey)
  const token = `hsi_${ctx.random.token(32)}`
  const { teamId, role, email } = about
  const expiresAt = now + ttlMs
  const row = await insertInvitation(tx, {
    id: ctx.random.id(),
    teamId,
    email,
    emailKey,
    role,
    tokenHash: sha256Hex(token),
    invitedBy: userId,
    createdAt: now,
    expiresAt,
    acceptedAt: null,
    acceptedBy: null,
    revokedAt: null,
  })
  const inviter = await findAccount(tx, userId)
  await sendMail(ctx, tx, {
    to: email,
    kind: 'invitation',
    expiresAt,
    subject: 'An invitation to HiveSync',
    text: mailText(ctx, [
      `${inviter?.username ?? 'Somebody'} invites you to ${teamId === null ? about.to : `join ${about.to}`}. The invitation is good until ${isoTime(expiresAt)}.`,
      `${ctx.config.publicUrl}/account#invitation=${token}`,
      'It is for this address alone: sign in, or register, with it. If you do not know what this is about, ignore it.',
    ]),
  })
  const target = { kind: 'invitation', id: row.id }
  await recordAudit(ctx, tx, actor, { action: 'invitation.created', target, teamId, details: { role } })
  return toInvitation(row)
}

async function requireQuota(ctx: Context, tx: Db, userId: string, emailKey: string): Promise<void> {
  const key = `invitations of\n${userId}`
  const isAllowed =
    (await takeFromQuota(ctx, tx, { key, most: mostPerDay, windowMs: dayMs })) &&
    (await takeFromQuota(ctx, tx, { key: `${key}\n${emailKey}`, most: mostToOnePerDay, windowMs: dayMs }))
  if (!isAllowed) throw new AppError('too_many_invitations', {}, { detail: 'Too many were sent today' })
}

export async function listInvitations(
  ctx: Context,
  actor: Actor,
  teamId: string,
  query: { limit?: string; cursor?: string },
): Promise<Page<Invitation>> {
  const request = pageRequest(query)
  await requireTeam(ctx.db.kysely, actor, teamId, 'manageMembers')
  const rows = await listOpenInvitations(ctx.db.kysely, teamId, ctx.clock.now(), request)
  return toPage(rows, request, (row) => row.id, toInvitation)
}

export async function revokeInvitation(
  ctx: Context,
  actor: Actor,
  teamId: string,
  invitationId: string,
): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    await requireTeam(tx, actor, teamId, 'manageMembers')
    if ((await setInvitationsRevoked(tx, teamId, { id: invitationId }, ctx.clock.now())) === 0)
      throw new AppError('invitation_not_found', { teamId })
    await auditTeam(ctx, tx, actor, teamId, 'invitation.revoked', { kind: 'invitation', id: invitationId })
  })
}

/** Joins the team; the account must have proved the very address the invitation was sent to, so that a link passed on opens nothing. */
export async function acceptInvitation(ctx: Context, actor: Actor, body: { invitation: string }): Promise<Team> {
  requireSession(actor)
  try {
    const team = await ctx.db.transaction(async (tx) => {
      const userId = await lockPerson(tx, actor)
      const account = await findAccount(tx, userId)
      const invitation = await findInvitation(ctx, tx, body.invitation)
      if (account === undefined || invitation?.teamId == null || invitation.emailKey !== loginKey(account.email))
        throw new AppError('invalid_invitation')
      if (account.emailVerifiedAt === null) throw new AppError('email_unverified')
      await accept(ctx, tx, actor, invitation, userId)
      return findTeam(tx, userId, invitation.teamId)
    })
    if (team === undefined) throw new AppError('invalid_invitation')
    ctx.bus.publish('identity')
    return toTeam(team)
  } catch (error) {
    if (isUniqueViolation(error) === 'team_members(team_id,user_id)') throw new AppError('member_exists')
    throw error
  }
}

/** Refuses with `invalid_invitation` what `redeemInvitation` would refuse, before anything is done for the account to come. */
export async function requireInvitation(ctx: Context, db: Db, token: string, email: string): Promise<void> {
  const invitation = await findInvitation(ctx, db, token)
  if (invitation?.emailKey !== loginKey(email)) throw new AppError('invalid_invitation')
}

/**
 * Uses an invitation for a new account, in the transaction that inserts it. It came to the address by mail, so the address counts as proved:
 * the caller marks it so. Refuses with `invalid_invitation` for any other address.
 */
export async function redeemInvitation(
  ctx: Context,
  tx: Db,
  actor: Actor,
  token: string,
  account: { userId: string; email: string },
): Promise<void> {
  const invitation = await findInvitation(ctx, tx, token)
  if (invitation === undefined || invitation.emailKey !== loginKey(account.email))
    throw new AppError('invalid_invitation')
  await accept(ctx, tx, actor, invitation, account.userId)
}

/** Forgets the invitations whose time is over. */
export async function pruneInvitations(ctx: Context): Promise<void> {
  await deleteExpiredInvitations(ctx.db.kysely, ctx.clock.now())
}

async function accept(ctx: Context, tx: Db, actor: Actor, invitation: InvitationRow, userId: string): Promise<void> {
  const { id, teamId, role } = invitation
  const now = ctx.clock.now()
  if (!(await setInvitationAccepted(tx, id, userId, now))) throw new AppError('invalid_invitation')
  if (teamId !== null && role !== null) await insertMember(tx, { teamId, userId, role, createdAt: now })
  const target = { kind: 'invitation', id }
  await recordAudit(ctx, tx, actor, { action: 'invitation.accepted', target, teamId, details: { userId, role } })
  await enqueueEvent(ctx, tx, { topic: 'member.added', teamId, payload: { userId, projectId: null, role } })
}

/** The open invitation, if who sent it could still send it now: it carries their rights, and falls with them. */
async function findInvitation(ctx: Context, tx: Db, token: string): Promise<InvitationRow | undefined> {
  if (!pattern.test(token)) return undefined
  const invitation = await findOpenInvitation(tx, sha256Hex(token), ctx.clock.now())
  if (invitation?.invitedBy == null) return undefined
  const inviter = await findInviter(tx, invitation.invitedBy, invitation.teamId)
  if (inviter === undefined) return undefined
  if (invitation.teamId === null) return inviter.adminSince === null ? undefined : invitation
  const least = [teamRoleFor.manageMembers, invitation.role ?? 'owner']
  return inviter.role !== null && least.every((role) => isTeamRoleEnough(inviter.role ?? 'member', role))
    ? invitation
    : undefined
}

function toInvitation(row: InvitationRow): Invitation {
  const { id, teamId, email, role } = row
  return { id, teamId, email, role, createdAt: isoTime(row.createdAt), expiresAt: isoTime(row.expiresAt) }
}
