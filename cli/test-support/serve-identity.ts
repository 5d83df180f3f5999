import * as admin from '@hivesync/contracts/admin.ts'
import { changePassword, requestPasswordReset } from '@hivesync/contracts/credentials.ts'
import { approveDeviceLogin, denyDeviceLogin, getDeviceLogin } from '@hivesync/contracts/device-login.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import type { Peer } from '../../sdk/test-support/peer.ts'
import { session, tokensOf, user } from '../../sdk/test-support/samples.ts'
import { administeredUser, factor, invitation, listedUser, member, stepUpToken, team } from './identity-samples.ts'

/** The part of `serveEverything` that is about people: one user with a password, an authenticator app and one team. */
export function serveIdentity(peer: Peer): void {
  peer.on(sessions.listSessions, () => ({ items: [session], nextCursor: null }))
  peer.on(sessions.refresh, () => ({ ...tokensOf(2), session: { ...session, deviceBound: true } }))
  peer.on(sessions.revokeSession, () => undefined)
  peer.on(sessions.revokeOtherSessions, () => undefined)
  peer.on(changePassword, () => undefined)
  peer.on(requestPasswordReset, () => undefined)
  const asked = { deviceName: 'edge box', ip: '192.0.2.0', createdAt: user.createdAt, expiresAt: session.expiresAt }
  peer.on(getDeviceLogin, () => asked)
  peer.on(approveDeviceLogin, () => undefined)
  peer.on(denyDeviceLogin, () => undefined)
  serveProofs(peer)
  serveTeams(peer)
  serveAdmin(peer)
}

function serveProofs(peer: Peer): void {
  peer.on(mfa.startStepUp, () => ({ methods: ['password' as const], passkey: null }))
  peer.on(mfa.stepUp, () => ({ stepUpToken, expiresAt: session.expiresAt }))
  peer.on(mfa.listFactors, () => ({ items: [factor], recoveryCodesLeft: 9 }))
  peer.on(mfa.removeTotp, () => undefined)
  peer.on(mfa.renewRecoveryCodes, () => ({ recoveryCodes: ['AAAAAA-BBBBBB-CCCCCC-DDDDDD'] }))
}

function serveTeams(peer: Peer): void {
  peer.on(teams.listTeams, () => ({ items: [team], nextCursor: null }))
  peer.on(teams.createTeam, ({ body }) => ({ ...team, name: body.name }))
  peer.on(teams.updateTeam, ({ body }) => ({ ...team, name: body.name }))
  peer.on(teams.deleteTeam, () => undefined)
  peer.on(teams.transferTeam, () => team)
  peer.on(teams.listTeamMembers, () => ({ items: [member], nextCursor: null }))
  peer.on(teams.changeTeamMember, ({ body }) => ({ ...member, role: body.role }))
  peer.on(teams.removeTeamMember, () => undefined)
  peer.on(teams.createInvitation, () => invitation)
  peer.on(teams.listInvitations, () => ({ items: [invitation], nextCursor: null }))
  peer.on(teams.revokeInvitation, () => undefined)
  peer.on(teams.acceptInvitation, () => team)
  peer.on(teams.inviteToServer, () => ({ ...invitation, teamId: null, role: null }))
}

function serveAdmin(peer: Peer): void {
  peer.on(admin.listUsers, () => ({ items: [listedUser], nextCursor: null }))
  peer.on(admin.getUser, () => administeredUser)
  peer.on(admin.deactivateUser, () => ({ ...administeredUser, isActive: false }))
  peer.on(admin.activateUser, () => administeredUser)
  peer.on(admin.setUserRole, ({ body }) => ({ ...administeredUser, isAdmin: body.isAdmin }))
  peer.on(admin.endUserSessions, () => undefined)
  peer.on(admin.startUserReset, () => undefined)
  const key = {
    id: 'kid-1',
    state: 'current' as const,
    createdAt: user.createdAt,
    signsFrom: user.createdAt,
    retiresAt: null,
  }
  peer.on(sessions.rotateSigningKeys, () => ({
    rotated: true,
    current: key,
    next: { ...key, id: 'kid-2', state: 'next' as const },
    previous: [{ ...key, id: 'kid-0', state: 'previous' as const, retiresAt: user.createdAt }],
  }))
}
